#!/bin/sh
# For deb and rpm. A running exporter restarts as the new version; a new installation is not started.
set -e
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl try-restart idaas-token-exporter.service

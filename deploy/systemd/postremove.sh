#!/bin/sh
# For deb and rpm. Only purging a deb removes the state.
set -e
if [ "$1" = purge ]; then
  rm -rf /var/lib/idaas-token-exporter /var/lib/private/idaas-token-exporter /etc/idaas-token-exporter
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload

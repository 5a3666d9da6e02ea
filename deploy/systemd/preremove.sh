#!/bin/sh
# For deb (argument: remove or upgrade) and rpm (argument: number of remaining versions).
set -e
case "$1" in
remove | 0)
  if [ -d /run/systemd/system ]; then
    systemctl disable --now idaas-token-exporter.service
  else
    systemctl disable idaas-token-exporter.service
  fi
  ;;
esac

#!/bin/sh
# Of the deb (remove, upgrade) and the rpm (how many versions stay).
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

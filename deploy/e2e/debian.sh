#!/bin/sh
# Installs those of the named Debian packages that are missing. Only root can; anybody else is told what to install.
set -eu
missing=
for package; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "missing, and only root can install them: apt-get install --no-install-recommends$missing" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=600 update -q
# shellcheck disable=SC2086 # one word for each package
apt-get -o DPkg::Lock::Timeout=600 install -q -y --no-install-recommends $missing

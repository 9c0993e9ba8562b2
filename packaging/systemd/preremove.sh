#!/bin/sh
# Before a removal, which the .deb calls remove and the .rpm 0: no versions are left. Not before an upgrade.
set -e
case $1 in
remove | 0) systemctl disable --now pgscope-proxy.socket pgscope-proxy.service 2>/dev/null || : ;; # or there is no systemd
esac

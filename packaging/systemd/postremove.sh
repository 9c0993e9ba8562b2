#!/bin/sh
# After a removal: its units are gone.
set -e
systemctl daemon-reload 2>/dev/null || : # or there is no systemd

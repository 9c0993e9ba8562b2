#!/bin/sh
# After an installation or an upgrade. What runs becomes the new version; sessions have the grace period for it.
set -e
systemctl daemon-reload 2>/dev/null || exit 0 # there is no systemd
systemctl try-restart pgscope-proxy.service || echo "pgscope-proxy does not start: systemctl status pgscope-proxy" >&2

#!/bin/sh
# After an installation or an upgrade. What runs becomes the new version, and sessions have the grace period for it, if the new
# version takes the settings: a reload has it check them, with the account and the credentials of the service.
set -e
systemctl daemon-reload 2>/dev/null || exit 0 # there is no systemd
if systemctl is-active --quiet pgscope-proxy.service && ! systemctl reload pgscope-proxy.service; then
	cat >&2 <<-EOT
		pgscope-proxy: the new version does not take the settings, so the old one still runs.
		journalctl -u pgscope-proxy says why. Mend the settings, then: systemctl restart pgscope-proxy
	EOT
	exit 0
fi
systemctl try-restart pgscope-proxy.service || echo "pgscope-proxy does not start: systemctl status pgscope-proxy" >&2

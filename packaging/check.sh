#!/bin/bash
# check.sh: has what a release brings looked at by the tools of those who will take it. As root on Debian it installs what is
# missing; elsewhere it says NOT CHECKED. `make dist-check`.
set -euo pipefail
cd "$(dirname "$0")/.."

KUBERNETES=(1.31 1.34 1.37)          # versions that the manifests are held against
KUBERNETES_VALIDATE=1.37.0           # of PyPI, with the schemas in it
CYCLONEDX_LIB=11.12.0                # likewise

ls dist/*.deb dist/*.rpm dist/sbom.cdx.json >/dev/null # by make dist
failed=0
step() { # NAME COMMAND…
	local name=$1
	shift
	if out=$("$@" 2>&1); then
		echo "$name: ok"
		out=$(sed '/^$/d' <<<"$out" | tail -1) # what it all comes to
	else
		echo "$name: FAILED"
		failed=1
	fi
	[[ -z $out ]] || sed 's/^/    /' <<<"$out"
}
missing() { echo "$1: NOT CHECKED, there is no $2"; }

packages=()
command -v lintian >/dev/null || packages+=(lintian)
command -v rpmlint >/dev/null && command -v rpm >/dev/null || packages+=(rpmlint rpm)
command -v systemd-analyze >/dev/null || packages+=(systemd)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if ((${#packages[@]})) && [[ $(id -u) = 0 ]] && command -v apt-get >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

# What a tool takes for a mistake and is meant so is named here, with the reason.
#   statically-linked-binary      the program is one file
#   no-changelog, no-copyright-file      not a package of the distribution: who releases it adds both
#   rpmlint's                            packaging/rpmlint.toml
if command -v lintian >/dev/null; then
	step lintian lintian --fail-on error --suppress-tags \
		statically-linked-binary,no-changelog,no-copyright-file dist/*.deb
else
	missing lintian lintian
fi
if command -v rpmlint >/dev/null && command -v rpm >/dev/null; then
	step rpmlint rpmlint -c packaging/rpmlint.toml dist/*.rpm
else
	missing rpmlint rpmlint
fi

# A root as it is after the installation of the .deb, for units that name the program.
if command -v systemd-analyze >/dev/null && command -v dpkg-deb >/dev/null; then
	root=$(mktemp -d)
	trap 'rm -rf "$root"' EXIT
	dpkg-deb -x dist/*.deb "$root"
	sed -i "s,/usr/bin/pgscope-proxy,$root&," "$root"/lib/systemd/system/pgscope-proxy.service
	step systemd systemd-analyze verify --man=no "$root"/lib/systemd/system/pgscope-proxy.{service,socket}
	step "systemd's view of the sandbox" systemd-analyze security --offline=true --threshold=20 --no-pager "$root"/lib/systemd/system/pgscope-proxy.service
	step "the installed program" "$root"/usr/bin/pgscope-proxy version
else
	missing systemd systemd-analyze
fi

if command -v promtool >/dev/null; then # of Debian's prometheus, which would start a server: it is not installed for this
	step "alert rules" promtool check rules packaging/monitoring/alerts.yaml
else
	missing "alert rules" promtool
fi

venv=${XDG_CACHE_HOME:-$HOME/.cache}/pgscope-proxy/dist-check
if [[ -x $venv/bin/kubernetes-validate ]] || { python3 -m venv "$venv" && "$venv"/bin/pip install -q \
	kubernetes-validate=="$KUBERNETES_VALIDATE" "cyclonedx-python-lib[json-validation]==$CYCLONEDX_LIB"; }; then
	for version in "${KUBERNETES[@]}"; do
		step "Kubernetes $version" "$venv"/bin/kubernetes-validate --quiet --strict -k "$version" packaging/kubernetes/*.yaml
	done
	step SBOM "$venv"/bin/python - dist/sbom.cdx.json <<-'EOF'
		import sys
		from cyclonedx.schema import SchemaVersion
		from cyclonedx.validation.json import JsonStrictValidator
		error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
		sys.exit(str(error) if error else 0)
	EOF
else
	missing "Kubernetes, SBOM" "Python"
fi
exit $failed

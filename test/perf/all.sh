#!/bin/bash
# all.sh: what `make bench-peers` runs: a server, the peers, every suite, the tables as markdown; with CURVES=1 the curves
# too. It takes about R x T x 2 minutes. Settings: those of env.sh and perf.sh (R, T, SUITES, OUT, STATE).
set -eu
. "$(dirname "$0")/env.sh"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  missing=(); for p in haproxy pgbouncer; do command -v $p >/dev/null || missing+=($p); done
  [ ${#missing[@]} = 0 ] || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
fi
build
trap '"$HERE/peers.sh" stop; "$HERE/server.sh" stop' EXIT
"$HERE/server.sh" start
"$HERE/peers.sh" start >/dev/null
"$HERE/perf.sh"
[ -z "${CURVES:-}" ] || "$HERE/curves.sh"

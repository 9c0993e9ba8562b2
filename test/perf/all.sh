#!/bin/bash
# all.sh [curves [NAME...] | reconcile]: what `make bench-peers`, `make bench-curves` and `make bench-reconcile` run, unattended: a
# private server, the peers and this project, the suites, the tables. As root it installs haproxy and pgbouncer where they are missing,
# and runs everything as RUNAS.
#
#   R=3 T=3 make bench-peers                               every suite in about 12 minutes
#   R=5 T=5 make bench-peers                               in half an hour; T=8 in three quarters
#   R=1 T=2 SUITES="so-16 setrole churn-trust" make bench-peers     a minute or two
#   make bench-curves CURVES="roles text"                  curves of docs/performance: curves.sh has their names
#   make bench-reconcile                                   the reconciler: reconcile.sh
#
# What to do with it: stop everything else on the machine, run it, and put $OUT/tables.md (its path is printed last) into "Peers" of
# docs/performance.md as it is. err.log beside it says which runs failed, if any did: those count as 0 and are worth a look.
# Settings: R rounds, T seconds of each, SUITES, OUT, IDLE (numbers of idle sessions, for the suite idle: 1000), STATE, PGBIN: env.sh and
# perf.sh. It takes about R x (T + 1) x 4 seconds for each suite, and half a minute to make the server the first time.
set -eu
. "$(dirname "$0")/env.sh"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ "${1:-}" != reconcile ]; then
  missing=(); for p in haproxy pgbouncer; do command -v $p >/dev/null || missing+=($p); done
  [ ${#missing[@]} = 0 ] || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
fi
build
trap '"$HERE/peers.sh" stop; "$HERE/server.sh" stop' EXIT
"$HERE/server.sh" start
case ${1:-} in
reconcile) "$HERE/reconcile.sh" ;;
curves)
  "$HERE/peers.sh" start >/dev/null
  "$HERE/curves.sh" "${@:2}" ;;
*)
  : "${SUITES:=so-1 so-16 so-64 ext-16 prep-16 pipe-16 tpcb-16 churn-trust churn-scram setrole app introspect copyout select copyin rate idle}"
  : "${OUT:=$HERE/out/$(date +%Y%m%d-%H%M%S)}" "${IDLE:=1000}"; export OUT
  case " $SUITES " in *" idle "*)
    for k in $IDLE; do # what is left of other sessions would count: a fresh process for each
      "$HERE/peers.sh" start >/dev/null
      SUITES=idle IDLE=$k "$HERE/perf.sh"
      "$HERE/peers.sh" stop
    done ;;
  esac
  SUITES=${SUITES//idle/}
  [ -z "${SUITES// /}" ] || { "$HERE/peers.sh" start >/dev/null; SUITES=$SUITES "$HERE/perf.sh"; } ;;
esac

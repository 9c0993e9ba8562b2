#!/bin/bash
# curves.sh: what things cost as they grow, through this project and directly: a CSV and a picture of each in $CURVEDIR.
# The server and the peers must run. N bounds what is grown (10000), K is how often each thing is done (200).
set -eu
. "$(dirname "$0")/env.sh"
: "${N:=10000}" "${K:=200}" "${CURVEDIR:=$HERE/../../docs/performance}"
B=$PGPORT_DIRECT; O=$((B + 49)); W=$STATE/curves
mkdir -p "$W" "$CURVEDIR"
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
q() { "$PGBIN/psql" -h 127.0.0.1 -p "$B" -U postgres -d bench -XAtq "$@"; }
# us PORT FILE [ARG...]: microseconds that the script takes, the median of K runs in one session
us() {
  rm -f "$W"/lat.*
  "$PGBIN/pgbench" -h 127.0.0.1 -p "$1" -n -f "$2" -c 1 -t "$K" -l --log-prefix="$W/lat" "${@:3}" >/dev/null 2>"$W/err" || { cat "$W/err" >&2; exit 1; }
  "$HERE/bin/pgload" logs "$W"/lat.* | cut -d' ' -f1
}
steps() { for n in "$@"; do [ "$n" -gt "$N" ] || echo "$n"; done; }
plot() { "$HERE/bin/plot" "$CURVEDIR/$1.csv" "$2" >"$CURVEDIR/$1.svg"; }

echo "connections,direct,pgscope" >"$CURVEDIR/connections.csv"
for n in $(steps 1 5 20 100 500 1000 5000); do # each waits for its turn: the time of one transaction, all clients at it
  row=$n
  for p in "$B" "$O"; do
    tps=$("$PGBIN/pgbench" -h 127.0.0.1 -p "$p" -n -S -c "$n" -j 2 -t $((20000 / n + 2)) 2>"$W/err" | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
    row=$row,$(awk -v t="$tps" 'BEGIN { printf "%.1f", 1e6 / t }')
  done
  echo "$row"
done >>"$CURVEDIR/connections.csv"
plot connections "microseconds per select at so many connections"

echo "bytes,direct,pgscope" >"$CURVEDIR/text.csv"
for n in $(N=10000000 steps 100 1000 10000 100000 1000000 10000000); do
  { printf "SELECT length('"; head -c "$n" /dev/zero | tr '\0' x; echo "');"; } >"$W/text.sql"
  k=$K; [ "$n" -lt 1000000 ] || k=$((K / 10 + 1))
  echo "$n,$(K=$k us "$B" "$W/text.sql"),$(K=$k us "$O" "$W/text.sql")"
done >>"$CURVEDIR/text.csv"
plot text "microseconds per statement of so many bytes"

echo 'BEGIN; SET LOCAL ROLE bench_web; ROLLBACK;' | tr ';' '\n' | sed 's/$/;/;/^;$/d' >"$W/set.direct.sql"
sed 's/bench_web/web/' "$W/set.direct.sql" >"$W/set.sql"
echo 'GRANT SELECT ON big TO bench_web;' >"$W/grant.direct.sql"; sed 's/bench_web/web/' "$W/grant.direct.sql" >"$W/grant.sql"
growth() { # name, title, the statement that makes things up to number N, the steps
  echo "$1,direct SET ROLE,pgscope SET ROLE,direct GRANT,pgscope GRANT" >"$CURVEDIR/$1.csv"
  for n in $(steps "${@:4}"); do
    q -c "$(sed "s/:N/$n/g" <<<"$3")"
    echo "$n,$(us "$B" "$W/set.direct.sql"),$(us "$O" "$W/set.sql"),$(us "$B" "$W/grant.direct.sql"),$(us "$O" "$W/grant.sql")"
  done >>"$CURVEDIR/$1.csv"
  plot "$1" "$2"
}
growth roles "microseconds per role statement in a database of so many roles" \
  "DO \$\$ BEGIN FOR i IN 1..:N LOOP IF to_regrole('bench_r' || i) IS NULL THEN EXECUTE 'CREATE ROLE bench_r' || i || ' IN ROLE pgscope_db_bench'; END IF; END LOOP; END \$\$" \
  10 100 1000 10000
growth databases "microseconds per role statement in a cluster of so many databases with roles" \
  "DO \$\$ BEGIN FOR i IN 1..:N LOOP IF to_regrole('pgscope_db_d' || i) IS NULL THEN EXECUTE 'CREATE ROLE pgscope_db_d' || i; EXECUTE format('COMMENT ON ROLE pgscope_db_d%s IS %L', i, concat('{\"oid\":', 4000000000 + i, ',\"database\":\"d', i, '\",\"prefix\":\"d', i, '\",\"version\":1}')); END IF; END LOOP; END \$\$" \
  1 10 100 1000

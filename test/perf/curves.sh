#!/bin/bash
# curves.sh [NAME...]: what things cost as they grow, through this project and directly: a CSV and a picture of each in $CURVEDIR.
#   connections   a select, all clients at it at the same time; 5,000 of them are some 10 GiB of the server's processes
#   text          a query, a role statement and a script of role statements of so many bytes
#   roles, spread role statements, a query of the catalogs and a login: so many roles, of one database or of 50
#   databases     the same in a cluster of so many databases, each with a role
#   reconciler    roles are given rights on so many tables, and nothing is left to do: see reconcile.sh
# With no NAME all of them, in about 20 minutes. The server and the peers must run (server.sh, peers.sh). What is made for a curve is
# dropped after it. N bounds what is grown (100000).
set -eu -o pipefail; shopt -s inherit_errexit
. "$(dirname "$0")/env.sh"
: "${N:=100000}" "${CURVEDIR:=$HERE/../../docs/performance}"
B=$PGPORT_DIRECT; O=$((B + 49)); W=$STATE/curves
mkdir -p "$W" "$CURVEDIR"
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
q() { "$PGBIN/psql" -h 127.0.0.1 -p "$B" -U postgres -d bench -XAtq -v ON_ERROR_STOP=1 "$@"; }
pgbench() { "$PGBIN/pgbench" -h 127.0.0.1 -n "$@" 2>"$W/err" || { cat "$W/err" >&2; exit 1; }; }
# both SCRIPT [ARG...]: microseconds of a transaction, directly (SCRIPT.direct where there is one) and through the proxy. They are
# run in turns, as pgbench is told or else for a second each; the medians.
both() {
  local p turn script how=("${@:2}")
  [ $# -gt 1 ] || how=(-c 1 -T 1)
  for p in $B $O; do : >"$W/tps.$p"; done
  for turn in $(seq "${TURNS:-3}"); do for p in $B $O; do
    script=$W/$1.sql; [ $p = $O ] || [ ! -e "$W/$1.direct.sql" ] || script=$W/$1.direct.sql
    pgbench -p $p -f "$script" "${how[@]}" | sed -n 's/^tps = \([0-9.]*\).*/\1/p' >>"$W/tps.$p"
  done; done
  for p in $B $O; do sort -n "$W/tps.$p" | awk '{ tps[NR] = $1 } END { printf "%.1f\n", 1e6 / tps[int((NR + 1) / 2)] }'; done | paste -sd,
}
steps() { for n in "$@"; do [ "$n" -gt "$N" ] || echo "$n"; done; }
begin() { csv=$CURVEDIR/$1.csv; echo "$2" >"$csv"; echo "$(date +%T) $1"; }
# point X COMMAND...: a row of what the commands print.
point() {
  local row=$1 cells command
  for command in "${@:2}"; do cells=$($command); row=$row,$cells; done
  echo "$row" >>"$csv"; echo "  $(date +%T) $row"
}
plot() { "$HERE/bin/plot" "$csv" "$1" "${2:-microseconds}" >"${csv%.csv}.svg"; }

connections() {
  begin connections "connections,direct,pgscope"
  printf '%s\n' '\set aid random(1, 100000)' 'SELECT abalance FROM pgbench_accounts WHERE aid = :aid;' >"$W/select.sql"
  for n in $(steps 1 5 20 100 500 1000 2000 5000); do
    local TURNS=3; [ "$n" -lt 1000 ] || TURNS=1 # to connect takes longer than all else, and the selects are many
    point "$n" "both select -U benchtrust -c $n -j 2 -t $((20000 / n + 20))" # a client's first few cost more: the server's caches are empty
  done
  plot "A select, by connections that are all at it" "microseconds per select"
}

text() {
  begin text "bytes,direct query,pgscope query,direct role statement,pgscope role statement,direct script,pgscope script"
  for n in $(N=10000000 steps 100 1000 10000 100000 1000000 10000000); do
    { printf "SELECT length('"; head -c "$n" /dev/zero | tr '\0' x; echo "');"; } >"$W/text.sql"
    other=$(head -c $((n < 1000 ? 30 : 200)) /dev/zero | tr '\0' x)
    for role in web bench_web; do
      f=$W/statement.sql g=$W/script.sql; [ $role = web ] || f=$W/statement.direct.sql g=$W/script.direct.sql
      { printf "SELECT set_config('a.b', '"; head -c "$n" /dev/zero | tr '\0' x; echo "', true)\; SET LOCAL ROLE $role;"; } >"$f"
      awk -v n="$n" -v s="SET ROLE $role\\\\; SELECT '$other'\\\\; RESET ROLE" 'BEGIN { for (; n > length(s); n -= length(s) + 3) print s "\\;"; print s ";" }' >"$g"
    done
    point "$n" "both text" "both statement" "both script"
  done
  plot "A statement, by bytes of its text" "microseconds per text"
}

# growth NAME TITLE X MORE STEP...: role statements as there are more and more of something: MORE is a script that makes them up to :N.
growth() {
  begin "$1" "$3,direct SET ROLE,pgscope SET ROLE,direct GRANT,pgscope GRANT,direct CREATE ROLE,pgscope CREATE ROLE,direct catalogs,pgscope catalogs,direct login,pgscope login"
  for role in web bench_web; do
    d=; [ $role = web ] || d=.direct
    printf 'BEGIN;\nSET LOCAL ROLE %s;\nROLLBACK;\n' $role >"$W/set$d.sql"
    echo "GRANT SELECT ON big TO $role;" >"$W/grant$d.sql"
    printf 'CREATE ROLE %s;\nDROP ROLE %s;\n' ${role}_new ${role}_new >"$W/create$d.sql"
    echo "SELECT c.relname, r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = '$role';" >"$W/catalogs$d.sql"
  done
  sed -i 's/CREATE ROLE bench_web_new/& IN ROLE pgscope_db_bench/' "$W/create.direct.sql"
  echo 'SELECT 1;' >"$W/one.sql"
  q -c 'CREATE TABLE owned ()' -c 'ALTER TABLE owned OWNER TO bench_web' # what the catalogs have to show of the role
  for n in $(steps "${@:5}"); do
    sed "s/:N/$n/g" <<<"$4" | q
    q -c 'VACUUM (ANALYZE) pg_authid, pg_auth_members, pg_shdepend, pg_shdescription, pg_database' # autovacuum is off, and the last point made many
    point "$n" "both set" "both grant -U postgres -T 1" "both create -U postgres -T 1" "both catalogs" "both one -U benchtrust -C -T 1"
  done
  q -c 'DROP TABLE owned'
  plot "$2"
}

roles() {
  growth roles "Role statements and logins, by roles of the database" roles "
SELECT format('CREATE ROLE bench_r%s IN ROLE pgscope_db_bench', i) FROM generate_series(1, :N) i WHERE to_regrole('bench_r' || i) IS NULL \gexec" \
    10 100 1000 10000
  q <<<"SELECT 'DROP ROLE ' || rolname FROM pg_roles WHERE rolname ~ '^bench_r[0-9]' \gexec"
}

# Markers are as the proxy makes them.
marked() { # the databases, as a query of their names
  echo "
SELECT format('CREATE ROLE pgscope_db_%s', name) FROM ($1) d WHERE to_regrole('pgscope_db_' || name) IS NULL \gexec
SELECT format('COMMENT ON ROLE pgscope_db_%s IS %L', name, concat('{\"oid\":', o.oid, ',\"database\":\"', name, '\",\"prefix\":\"', name, '\",\"version\":1}'))
FROM ($1) d JOIN pg_database o ON o.datname = d.name WHERE shobj_description(to_regrole('pgscope_db_' || name), 'pg_authid') IS NULL \gexec"
}
databases_up_to() { # N
  echo "SELECT 'CREATE DATABASE growth' || i FROM generate_series(1, $1) i WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'growth' || i) \gexec"
  marked "SELECT 'growth' || i AS name FROM generate_series(1, $1) i"
}
no_databases() {
  q <<<"SELECT 'DROP DATABASE ' || datname FROM pg_database WHERE datname ~ '^growth[0-9]' \gexec
SELECT 'DROP ROLE ' || rolname FROM pg_roles WHERE rolname ~ '^(pgscope_db_)?growth[0-9]' \gexec"
}

spread() {
  growth spread "Role statements and logins, by roles spread over 50 databases" roles "$(databases_up_to 50)
SELECT format('CREATE ROLE growth%s_r%s IN ROLE pgscope_db_growth%s', 1 + i % 50, i, 1 + i % 50)
FROM generate_series(1, :N) i WHERE to_regrole(format('growth%s_r%s', 1 + i % 50, i)) IS NULL \gexec" \
    10 100 1000 10000
  no_databases
}

databases() {
  growth databases "Role statements and logins, by databases of the cluster" databases "$(databases_up_to :N)
SELECT format('CREATE ROLE growth%s_web IN ROLE pgscope_db_growth%s', i, i) FROM generate_series(1, :N) i WHERE to_regrole(format('growth%s_web', i)) IS NULL \gexec" \
    1 10 100 1000
  no_databases
}

seconds() { awk -F'\t' 'NR > 1 { apply = apply "," $4; nothing = nothing "," $9 } END { print substr(apply nothing, 2) }' "$W/reconcile.tsv"; }
reconciler() {
  begin reconciler "tables,first apply 10 roles,first apply 100 roles,no-op 10 roles,no-op 100 roles"
  for n in $(steps 100 1000 10000 100000); do
    OUT=$W TABLES=$n ROLES="10 100" TOOLS=pgscope "$HERE/reconcile.sh" >"$W/reconcile.tsv"
    point "$n" seconds
  done
  plot "Rights of 10 and 100 roles, by tables" seconds
}

[ -x "$HERE/bin/plot" ] && [ -x "$HERE/bin/pgload" ] || build
[ $# -gt 0 ] || set -- connections text roles spread databases reconciler
for curve; do "$curve"; done

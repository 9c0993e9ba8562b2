#!/bin/bash
# reconcile.sh: what it costs to give roles their rights, and then to find that nothing is left to do, by this project's
# `apply` and by the peers that are there. For each number of $TABLES and $ROLES a database is made in which each role is to have USAGE on one
# schema and SELECT on all of its tables, and every other role INSERT and UPDATE too.
#
#   make bench-reconcile                                   this project alone, in a private server
#   PGROLES=/path/to/pgroles LDAP2PG=/path/to/ldap2pg make bench-reconcile
#   TABLES="1000 10000" ROLES="10 100" TOOLS="pgscope pgroles" ./reconcile.sh      against the server that runs (server.sh)
#
# Rows are tab separated: tool, tables, roles, then for the first apply and again for the second, which finds nothing to do: seconds (the
# process from its start to its end), statements, bytes sent, bytes received, KiB of memory at most; the second is the median of three. Statements
# and bytes are those that pass a tap in front of the server, without TLS. LIMIT (600) is how many seconds a tool may take; one that takes
# longer, or fails, has "failed" in its row. That all have granted the same is checked, or it would be no comparison.
set -eu -o pipefail; shopt -s inherit_errexit
. "$(dirname "$0")/env.sh"
: "${TABLES:=1000 10000}" "${ROLES:=10 100}" "${LIMIT:=600}" "${OUT:=$STATE/reconcile}"
: "${TOOLS:=pgscope ${PGROLES:+pgroles} ${LDAP2PG:+ldap2pg}}" "${PGSCOPE:=$HERE/../../bin/pgscope-proxy}"
TAP=$((PGPORT_DIRECT + 70))
unset PGUSER PGPASSWORD PGDATABASE
mkdir -p "$OUT"
[ -x "$HERE/bin/pgload" ] || build
q() { "$PGBIN/psql" -h 127.0.0.1 -p "$PGPORT_DIRECT" -U postgres -XAtq -v ON_ERROR_STOP=1 "$@"; }
drop() {
  q -d postgres <<<"SELECT 'DROP DATABASE ' || datname || ' WITH (FORCE)' FROM pg_database WHERE datname ~ '^rec(_|$)' ORDER BY datname DESC \gexec
SELECT 'DROP ROLE ' || rolname FROM pg_roles WHERE rolname ~ '^(rec_|pgscope_db_rec)' \gexec"
}
# What a tool reads. Roles are called rec_1, rec_2 … on the server: through this project, 1, 2 … of database rec.
names() { seq -f "$1%.0f" "$2"; }
manifest() { # PREFIX ROLES: for this project and pgroles
  echo "schemas: [{ name: app, owner: postgres }]"
  printf "roles:\n  - { name: postgres, external: true }\n"
  for r in $(names "$1r" "$2"); do echo "  - name: $r"; done
  echo "grants:"
  local i=0
  for r in $(names "$1r" "$2"); do
    i=$((i + 1)); privileges=SELECT; [ $((i % 2)) = 0 ] || privileges="SELECT, INSERT, UPDATE"
    echo "  - { role: $r, privileges: [USAGE], object: { type: schema, name: app } }"
    echo "  - { role: $r, privileges: [$privileges], object: { type: table, schema: app, name: \"*\" } }"
  done
}
ldap2pg_rules() { # ROLES
  cat <<C
postgres:
  databases_query: [rec]
  schemas_query: [app]
  owners_query: [postgres]
  managed_roles_query: SELECT 'public' UNION SELECT rolname FROM pg_roles WHERE rolname LIKE 'rec\_%'
privileges:
  reads: [__usage_on_schemas__, __select_on_all_tables__]
  writes: [reads, __insert_on_all_tables__, __update_on_all_tables__]
sync_map:
- roles: [$(names rec_r "$1" | paste -sd,)]
- grant:
  - { privilege: reads, database: rec, schema: app, roles: [$(names rec_r "$1" | sed -n 'n;p' | paste -sd,)] }
  - { privilege: writes, database: rec, schema: app, roles: [$(names rec_r "$1" | sed -n 'p;n' | paste -sd,)] }
C
}
prepare() { # TOOL ROLES
  case $1 in
  pgscope) manifest "" "$2" >"$OUT/pgscope.yaml" ;;
  pgroles) manifest rec_ "$2" >"$OUT/pgroles.yaml" ;;
  ldap2pg) ldap2pg_rules "$2" >"$OUT/ldap2pg.yml" ;;
  esac
}
apply() { # TOOL: makes the rights those of the file
  local run=("$HERE/bin/pgload" run timeout "$LIMIT")
  case $1 in
  pgscope) "${run[@]}" "$PGSCOPE" apply -f "$OUT/pgscope.yaml" --dsn "host=127.0.0.1 port=$TAP user=postgres dbname=rec sslmode=disable" ;;
  pgroles) "${run[@]}" "$PGROLES" apply -f "$OUT/pgroles.yaml" --database-url "postgres://postgres@127.0.0.1:$TAP/rec?sslmode=disable" ;;
  ldap2pg) PGHOST=127.0.0.1 PGPORT=$TAP PGUSER=postgres PGDATABASE=rec PGSSLMODE=disable "${run[@]}" "$LDAP2PG" --real --config "$OUT/ldap2pg.yml" ;;
  esac
}
# tapped TOOL: seconds, statements, bytes sent, bytes received, KiB
tapped() {
  local tap time
  "$HERE/bin/pgload" tap -listen "127.0.0.1:$TAP" -addr "127.0.0.1:$PGPORT_DIRECT" >"$OUT/tap" & tap=$!
  sleep 0.2
  time=$(apply "$1" 2>"$OUT/$1.log")
  kill $tap; wait $tap
  set -- $time $(cat "$OUT/tap")
  [ "$3" = 0 ] || { echo "it failed, see $OUT: $3" >&2; return; }
  printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$5" "$6" "$7" "$2"
}
# granted: a sum of what is granted on the schema and its tables
granted() {
  q -d rec -c "SELECT count(*), sum(hashtext(concat(name, ' ', item))) FROM (
    SELECT relname, unnest(relacl) FROM pg_class WHERE relnamespace = 'app'::regnamespace
    UNION ALL SELECT nspname, unnest(nspacl) FROM pg_namespace WHERE nspname = 'app') a(name, item)"
}
trap drop EXIT
printf 'tool\ttables\troles\tapply_s\tstatements\tsent\treceived\tKiB\tnothing_s\tstatements\tsent\treceived\tKiB\n'
for tables in $TABLES; do
  drop
  q -d postgres -c 'CREATE DATABASE rec_template'
  q -d rec_template -c 'CREATE SCHEMA app'
  q -d rec_template -c "DO \$\$ BEGIN FOR i IN 1..$tables LOOP EXECUTE format('CREATE TABLE app.t%s ()', i); IF i % 1000 = 0 THEN COMMIT; END IF; END LOOP; END \$\$" -c ANALYZE -c CHECKPOINT
  for roles in $ROLES; do same=; for tool in $TOOLS; do
    q -d postgres -c 'CREATE DATABASE rec TEMPLATE rec_template'
    prepare "$tool" "$roles"
    first=$(tapped "$tool") second=
    if [ -n "$first" ]; then
      is=$(granted)
      [ "${same:=$is}" = "$is" ] || { echo "$tool has granted $is, another $same" >&2; exit 1; }
      q -d rec -c 'VACUUM pg_class, pg_shdepend, pg_authid, pg_auth_members'
      second=$(for _ in 1 2 3; do tapped "$tool"; done | sort -n | sed -n 2p)
    fi
    printf '%s\t%s\t%s\t%s\t%s\n' "$tool" "$tables" "$roles" "${first:-failed}" "${second:-failed}"
    q -d postgres <<<"DROP DATABASE rec WITH (FORCE);
SELECT 'DROP ROLE ' || rolname FROM pg_roles WHERE rolname ~ '^(rec_|pgscope_db_rec)' \gexec"
  done; done
done

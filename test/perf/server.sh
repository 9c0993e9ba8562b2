#!/bin/bash
# server.sh start|stop: a private PostgreSQL on loopback with the bench database.
set -eu
. "$(dirname "$0")/env.sh"
D=$STATE/data
case ${1:-start} in
start)
  [ "$(id -u)" != 0 ] || id "$RUNAS" >/dev/null 2>&1 || useradd -m "$RUNAS"
  mkdir -p "$STATE"; [ "$(id -u)" != 0 ] || chown "$RUNAS" "$STATE"
  if [ ! -d "$D" ]; then
    as "$PGBIN/initdb" -D "$D" -U postgres -A trust -E UTF8 --no-locale >"$STATE/initdb.log"
    cat >>"$D/postgresql.conf" <<C
listen_addresses = '127.0.0.1'
port = $PGPORT_DIRECT
unix_socket_directories = ''
max_connections = 6000
shared_buffers = 512MB
password_encryption = 'scram-sha-256'
fsync = off
synchronous_commit = off
full_page_writes = off
max_wal_size = 4GB
autovacuum = off
jit = off
C
    cat >"$D/pg_hba.conf" <<C
host all bench 127.0.0.1/32 scram-sha-256
host all all   127.0.0.1/32 trust
C
  fi
  ulimit -n 65536 2>/dev/null || true
  as "$PGBIN/pg_ctl" -D "$D" -l "$STATE/pg.log" -w -t 60 start
  if ! "$PGBIN/psql" -h 127.0.0.1 -p "$PGPORT_DIRECT" -U postgres -d postgres -Atc "select 1 from pg_database where datname='bench'" | grep -q 1; then
    "$PGBIN/psql" -h 127.0.0.1 -p "$PGPORT_DIRECT" -U postgres -d postgres -q -c "create role bench login password 'benchpw'" -c "create role benchtrust login" -c "grant bench to benchtrust" -c "create database bench owner bench" \
      -c "create role pgscope_db_bench nologin" \
      -c "create role bench_web in role pgscope_db_bench" -c "grant bench_web to bench, benchtrust"
    # What the proxy writes there when it enrols a database.
    "$PGBIN/psql" -h 127.0.0.1 -p "$PGPORT_DIRECT" -U postgres -d bench -Atq <<'C'
SELECT format('COMMENT ON ROLE pgscope_db_bench IS %L', concat('{"oid":', oid, ',"database":"bench","prefix":"bench","version":1}'))
FROM pg_database WHERE datname = 'bench' \gexec
C
    "$PGBIN/pgbench" -h 127.0.0.1 -p "$PGPORT_DIRECT" -i -s "$SCALE" -q bench
    "$PGBIN/psql" -h 127.0.0.1 -p "$PGPORT_DIRECT" -q -c "create table big as select repeat('abcdefghij',100) a from generate_series(1,200000)" -c "vacuum analyze big"; "$PGBIN/psql" -h 127.0.0.1 -p "$PGPORT_DIRECT" -U postgres -q -c checkpoint
  fi ;;
stop) as "$PGBIN/pg_ctl" -D "$D" -m fast -w stop ;;
esac

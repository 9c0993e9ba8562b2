#!/bin/bash
# peers.sh start|stop|list: the peers that are installed, each on its own loopback port in front of the server.
# This project is one of them (pgscope), in transparent mode with its policy, as it comes.
# `list` prints the arguments for perf.sh. An odyssey or a newer pgbouncer takes part when ODYSSEY=/path or PGBOUNCER2=/path is set.
set -eu
. "$(dirname "$0")/env.sh"
P=$STATE/peers; mkdir -p "$P"; [ "$(id -u)" != 0 ] || chown "$RUNAS" "$P"
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
B=$PGPORT_DIRECT
up() { # name port cmd...
  local n=$1 port=$2; shift 2
  local exe; exe=$(command -v "$1"); shift   # the secure path of RUNAS has no sbin
  local pre=(); [ "$(id -u)" != 0 ] || pre=(setpriv "--reuid=$RUNAS" "--regid=$RUNAS" --init-groups)
  [ -z "${OWN_SESSIONS:-}" ] || pre=(setsid "${pre[@]}") # it does not fork: nothing here leads a process group
  "${pre[@]}" "$exe" "$@" >"$P/$n.log" 2>&1 &   # no function in between: $! is the peer itself
  echo $! >"$P/$n.pid"; echo "$port" >"$P/$n.port"
}
pgb() { # ini port
  cat >"$P/$1.ini" <<C
[databases]
bench = host=127.0.0.1 port=$B dbname=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $2
unix_socket_dir =
auth_type = hba
auth_hba_file = $P/hba.conf
auth_file = $P/users.txt
pool_mode = session
max_client_conn = 6000
default_pool_size = 5500
max_db_connections = 0
server_reset_query = DISCARD ALL
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
log_pooler_errors = 1
stats_period = 600
admin_users = bench
logfile = $P/$1.out
C
}
case ${1:-list} in
start)
  rm -f "$P"/*.pid "$P"/*.port
  cat >"$P/hba.conf" <<C
host all bench      127.0.0.1/32 scram-sha-256
host all benchtrust 127.0.0.1/32 trust
C
  printf '"bench" "benchpw"\n"benchtrust" ""\n' >"$P/users.txt"
  pgscope=${PGSCOPE:-$HERE/../../bin/pgscope-proxy}
  install -m 755 "$pgscope" "$P/pgscope-proxy" # where RUNAS can reach it
  up pgscope $((B + 49)) "$P/pgscope-proxy" serve --listen "127.0.0.1:$((B + 49))" --http-listen "127.0.0.1:$((B + 50))" \
    --upstream "host=127.0.0.1 port=$B sslmode=disable" --log-level error
  # The same with server connections that are kept from one round to the next, as pgbouncer keeps them: the caches of their
  # processes are warm.
  cat >"$P/pool.yaml" <<C
listen: 127.0.0.1:$((B + 59))
http-listen: 127.0.0.1:$((B + 60))
upstream: host=127.0.0.1 port=$B sslmode=disable
admin-dsn: host=127.0.0.1 port=$B user=postgres dbname=postgres sslmode=disable
auth: verify
auth-rules: [{method: trust, users: benchtrust}]
pool: session
pool-idle: 100
pool-size: 100
log-level: error
C
  up pgscope-pool $((B + 59)) "$P/pgscope-proxy" serve --config "$P/pool.yaml"
  if command -v haproxy >/dev/null; then
    cat >"$P/haproxy.cfg" <<C
global
  maxconn 9500
  nbthread 2
defaults
  mode tcp
  maxconn 9500
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen pg
  bind 127.0.0.1:$((B + 19))
  server pg 127.0.0.1:$B maxconn 9500
C
    up haproxy $((B + 19)) haproxy -db -f "$P/haproxy.cfg"
  fi
  if command -v pgbouncer >/dev/null; then pgb pgbouncer $((B + 29)); up pgbouncer $((B + 29)) pgbouncer "$P/pgbouncer.ini"; fi
  if [ -n "${PGBOUNCER2:-}" ]; then pgb pgbouncer2 $((B + 30)); up pgbouncer2 $((B + 30)) "$PGBOUNCER2" "$P/pgbouncer2.ini"; fi
  if [ -n "${ODYSSEY:-}" ]; then
    cat >"$P/odyssey.conf" <<C
pid_file "$P/ody-own.pid"
daemonize no
log_format "%p %t %l [%i %s] (%c) %m\n"
log_to_stdout yes
log_debug no
log_config no
log_session no
log_query no
log_stats no
workers 2
resolvers 1
coroutine_stack_size 16
nodelay yes
locks_dir "$P"
listen { 
	host "127.0.0.1"
	port $((B + 39))
	backlog 1024
	tls "disable"
}
storage "pg" {
	type "remote"
	host "127.0.0.1"
	port $B
	tls "disable"
}
database "bench" {
	user "bench" {
		authentication "scram-sha-256"
		password "benchpw"
		storage "pg"
		storage_user "bench"
		storage_password "benchpw"
		pool "session"
		pool_size 0
		pool_timeout 0
		pool_ttl 600
		pool_discard yes
		pool_cancel no
		pool_rollback yes
		client_fwd_error yes
	}
	user "benchtrust" {
		authentication "none"
		storage "pg"
		storage_user "benchtrust"
		pool "session"
		pool_size 0
		pool_timeout 0
		pool_ttl 600
		pool_discard yes
		pool_cancel no
		pool_rollback yes
		client_fwd_error yes
	}
}
C
    up odyssey $((B + 39)) "$ODYSSEY" "$P/odyssey.conf"
  fi
  sleep 1
  for f in "$P"/*.pid; do # a port may be taken
    kill -0 "$(cat "$f")" 2>/dev/null || { echo "$(basename "$f" .pid) did not start:"; tail -3 "${f%.pid}.log"; exit 1; } >&2
  done
  "$0" list ;;
stop)
  for f in "$P"/*.pid; do [ -e "$f" ] || continue; p=$(cat "$f"); kill "$p" 2>/dev/null || true; rm -f "$f"; done ;;
list)
  printf 'direct=%s' "$B"
  for f in "$P"/*.port; do [ -e "$f" ] || continue; n=$(basename "$f" .port); p=$(cat "$P/$n.pid"); kill -0 "$p" 2>/dev/null && printf ' %s=%s:%s' "$n" "$(cat "$f")" "$p"; done; echo ;;
esac

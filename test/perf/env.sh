# Sourced by the other scripts. Everything can be overridden from the environment.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${PGBIN:=/usr/lib/postgresql/15/bin}"
: "${STATE:=$HERE/state}"              # data directory, configs and logs; RUNAS must be able to reach it
: "${RUNAS:=pgbench1}"                  # the server and the peers refuse root; made where it is missing
: "${PGPORT_DIRECT:=25501}"             # below the ports that the kernel gives to clients; the peers listen behind it
: "${SCALE:=20}"
export PGUSER=bench PGPASSWORD=benchpw PGDATABASE=bench
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid="$RUNAS" --regid="$RUNAS" --init-groups --reset-env "$@"; else "$@"; fi; }
build() { # pgload and plot
  (cd "$HERE/../.." && go build -o test/perf/bin/ ./test/perf/pgload ./test/perf/plot)
}

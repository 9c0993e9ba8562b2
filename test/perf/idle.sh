#!/bin/bash
# idle.sh [COUNT…]: resident memory of the proxy with so many connections at rest (0 1000 5000), a fresh process for each. It
# needs a server process each: some 2 MiB of memory apiece, and as many descriptors. TLS=1: the clients use TLS. OPENERS=1000: so many
# at the same moment.
set -eu
. "$(dirname "$0")/env.sh"
build
"$HERE/server.sh" start >/dev/null
trap '"$HERE/server.sh" stop >/dev/null' EXIT
ulimit -n 65536 2>/dev/null || true
tls=() load=(-openers "${OPENERS:-16}")
if [ -n "${TLS:-}" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout "$STATE/tls.key" -out "$STATE/tls.crt" 2>/dev/null
  tls=(--client-tls-mode=allow "--client-tls-cert=$STATE/tls.crt" "--client-tls-key=$STATE/tls.key") load+=(-tls)
fi
for count in "${@:-0 1000 5000}"; do for n in $count; do
  log=$(mktemp)
  "$HERE/../../bin/pgscope-proxy" serve --upstream "host=127.0.0.1 port=$PGPORT_DIRECT sslmode=disable" \
    --listen 127.0.0.1:0 --http-listen= --log-level=info "${tls[@]}" 2>"$log" &
  pid=$!
  until address=$(grep -o '"listen":"[^"]*"' "$log" | cut -d'"' -f4) && [ -n "$address" ]; do sleep 0.1; done
  echo "$n: $("$HERE/bin/pgload" idle -addr "$address" -n "$n" -pid $pid "${load[@]}")"
  kill $pid && wait $pid
  rm "$log"
done; done

#!/bin/bash
# messages.sh [SIZE…]: the most memory that a fresh proxy had resident before, and while fields of so many bytes (1000 1000000
# 1000000000) came out of a SELECT and a COPY, and went into a COPY. The server needs three times the largest.
set -eu
. "$(dirname "$0")/env.sh"
build
"$HERE/server.sh" start >/dev/null
log=$(mktemp)
"$HERE/../../bin/pgscope-proxy" serve --upstream "host=127.0.0.1 port=$PGPORT_DIRECT sslmode=disable" \
  --listen 127.0.0.1:0 --http-listen= --log-level=info 2>"$log" &
pid=$!
trap 'kill $pid; wait $pid; rm "$log"; "$HERE/server.sh" stop >/dev/null' EXIT
until address=$(grep -o '"listen":"[^"]*"' "$log" | cut -d'"' -f4) && [ -n "$address" ]; do sleep 0.1; done
load() { "$HERE/bin/pgload" "$1" -addr "$address" -user benchtrust "${@:2}" >/dev/null; }
peak() { sed -n 's/^VmHWM:\s*//p' /proc/$pid/status; echo 5 >/proc/$pid/clear_refs; } # and the next one starts anew
load query -sql "SELECT 1"; load copyin -mb 1
echo "at first: $(peak)"
for n in "${@:-1000 1000000 1000000000}"; do for size in $n; do
  load query -sql "SELECT repeat('x', $size)"; echo "SELECT $size: $(peak)"
  load query -sql "COPY (SELECT repeat('x', $size)) TO STDOUT"; echo "COPY TO $size: $(peak)"
  load copyin -field "$size"; echo "COPY FROM $size: $(peak)"
done; done

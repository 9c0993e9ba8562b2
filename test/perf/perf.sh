#!/bin/bash
# perf.sh [name=port[:pid[,pid]]]...: one interleaved measurement of every target that is named.
#   The first target is the base of the ratios (direct, as a rule). With no argument: what `peers.sh list` prints.
#   Rounds rotate the order of the targets. Every figure is kept in $OUT/raw.tsv: suite round target value cpu_s_per_1M(or per GB) machine_cpu_s_per_1M
# Environment: R rounds (5), T seconds (8), SUITES, OUT, IDLE ("1000 5000"), RATE (2000).
set -u
. "$(dirname "$0")/env.sh"
: "${R:=5}" "${T:=8}" "${RATE:=2000}" "${IDLE:=1000 5000}" "${IDLEWARM:=0}"
: "${SUITES:=so-1 so-16 so-64 ext-16 prep-16 pipe-16 tpcb-16 churn-trust churn-scram setrole app introspect copyout select copyin rate idle}"
: "${OUT:=$HERE/out/$(date +%Y%m%d-%H%M%S)}"
[ $# -gt 0 ] || set -- $("$HERE/peers.sh" list)
[ -x "$HERE/bin/pgload" ] || build
mkdir -p "$OUT"; RAW=$OUT/raw.tsv; : >>"$RAW"
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
TCK=$(getconf CLK_TCK)
NAMES=(); declare -A PORT PID
for a in "$@"; do n=${a%%=*}; v=${a#*=}; NAMES+=("$n"); PORT[$n]=${v%%:*}; case $v in *:*) PID[$n]=${v#*:};; *) PID[$n]=;; esac; done
echo "select 1;" >"$OUT/one.sql"
{ echo '\startpipeline'; for _ in $(seq 20); do echo 'select 1;'; done; echo '\endpipeline'; } >"$OUT/pipe.sql"
# What applications do about roles. A transaction as PostgREST makes it; columns that are called as roles are; an ORM's look
# at the schema. Peers that do not know the database's roles get the cluster's name.
setrole() {
  cat >"$OUT/setrole.$1.sql" <<C
BEGIN;
SET LOCAL ROLE $1;
SELECT set_config('search_path', 'public', true), set_config('request.jwt.claims', '{"sub":"1"}', true);
SELECT 1;
COMMIT;
C
}
setrole web; setrole bench_web
echo "SELECT u.id, u.role, u.\"user\", u.owner FROM (VALUES (1, 'admin', 'ann', 'bob')) u(id, role, \"user\", owner) WHERE u.role = 'admin' AND u.owner = 'bob';" >"$OUT/app.sql"
echo "SELECT c.relname, pg_get_userbyid(c.relowner) AS owner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r';" >"$OUT/introspect.sql"
cpu() { local s=0 p a; for p in ${1//,/ }; do a=$(sed 's/.*) //' /proc/$p/stat 2>/dev/null) || continue; set -- $a; s=$((s + ${12} + ${13})); done; echo $s; }
mach() { awk '/^cpu /{print $2+$3+$4+$7+$8; exit}' /proc/stat; }
# bench SUITE ROUND NAME pgbench-args...: records tps
bench() {
  local s=$1 r=$2 n=$3 c0 c1 m0 m1 o tps tx; shift 3
  c0=$(cpu "${PID[$n]}"); m0=$(mach)
  o=$("$PGBIN/pgbench" -h 127.0.0.1 -p "${PORT[$n]}" "$@" 2>"$OUT/err.one")
  c1=$(cpu "${PID[$n]}"); m1=$(mach)
  tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' <<<"$o"); tx=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<<"$o")
  # A run in which a client gave up is no measurement: it counts as 0.
  if grep -qE 'error:|aborted' "$OUT/err.one"; then { echo "$s round $r $n:"; cat "$OUT/err.one"; } >>"$OUT/err.log"; tps=0; fi
  awk -v s=$s -v r=$r -v n=$n -v tps="${tps:-0}" -v tx="${tx:-0}" -v c=$((c1-c0)) -v m=$((m1-m0)) -v k=$TCK 'BEGIN{if(tx<1)tx=1e-9; printf "%s\t%s\t%s\t%s\t%.2f\t%.2f\n",s,r,n,tps,c/k/tx*1e6,m/k/tx*1e6}' >>"$RAW"
}
# bytes SUITE ROUND NAME MB pgload-args...: records MB/s
bytes() {
  local s=$1 r=$2 n=$3 mb=$4 c0 c1 m0 m1 o; shift 4
  c0=$(cpu "${PID[$n]}"); m0=$(mach)
  o=$("$HERE/bin/pgload" "$1" -addr "127.0.0.1:${PORT[$n]}" -user bench "${@:2}" 2>>"$OUT/err.log")
  c1=$(cpu "${PID[$n]}"); m1=$(mach)
  awk -v s=$s -v r=$r -v n=$n -v o="${o:-0}" -v mb=$mb -v c=$((c1-c0)) -v m=$((m1-m0)) -v k=$TCK 'BEGIN{printf "%s\t%s\t%s\t%s\t%.2f\t%.2f\n",s,r,n,o,c/k/mb*1e3,m/k/mb*1e3}' >>"$RAW"
}
one() { # suite round name
  local s=$1 r=$2 n=$3 f
  case $s in
  so-1)    bench $s $r $n -n -S -M simple -c 1 -j 1 -T $T ;;
  so-16)   bench $s $r $n -n -S -M simple -c 16 -j 2 -T $T ;;
  so-64)   bench $s $r $n -n -S -M simple -c 64 -j 2 -T $T ;;
  ext-16)  bench $s $r $n -n -S -M extended -c 16 -j 2 -T $T ;;
  prep-16) bench $s $r $n -n -S -M prepared -c 16 -j 2 -T $T ;;
  pipe-16) bench $s $r $n -n -f "$OUT/pipe.sql" -M extended -c 16 -j 2 -T $T ;;
  tpcb-16) bench $s $r $n -M simple -c 16 -j 2 -T $T ;;
  churn-trust) bench $s $r $n -n -C -U benchtrust -f "$OUT/one.sql" -c 4 -j 2 -T $((T/2>2?T/2:2)) ;;
  churn-scram) bench $s $r $n -n -C -f "$OUT/one.sql" -c 4 -j 2 -T $((T/2>2?T/2:2)) ;;
  setrole) f=bench_web; case $n in pgscope*) f=web ;; esac
           bench $s $r $n -n -U benchtrust -f "$OUT/setrole.$f.sql" -c 16 -j 2 -T $T ;;
  app)     bench $s $r $n -n -f "$OUT/app.sql" -c 16 -j 2 -T $T ;;
  introspect) bench $s $r $n -n -f "$OUT/introspect.sql" -c 16 -j 2 -T $T ;;
  copyout) bytes $s $r $n 200 query -sql "COPY big TO STDOUT" ;;
  select)  bytes $s $r $n 38 query -sql "SELECT generate_series(1,2000000)" ;;
  copyin)  bytes $s $r $n 200 copyin -mb 200 ;;
  rate)
    rm -f "$OUT"/lat.$n.*
    "$PGBIN/pgbench" -h 127.0.0.1 -p "${PORT[$n]}" -n -S -M simple -c 8 -j 1 -R $RATE -T $T -l --log-prefix="$OUT/lat.$n" >/dev/null 2>>"$OUT/err.log"
    f=$("$HERE/bin/pgload" logs "$OUT"/lat.$n.* 2>>"$OUT/err.log"); set -- $f
    printf 'rate-p50\t%s\t%s\t%s\t0\t0\nrate-p99\t%s\t%s\t%s\t0\t0\nrate-p999\t%s\t%s\t%s\t0\t0\n' $r $n "${1:-0}" $r $n "${2:-0}" $r $n "${3:-0}" >>"$RAW"; rm -f "$OUT"/lat.$n.* ;;
  esac
}
for s in $SUITES; do
  if [ $s = idle ]; then
    for k in $IDLE; do for n in "${NAMES[@]}"; do [ -n "${PID[$n]}" ] && [ "$n" != pgscope-pool ] || continue
      o=$("$HERE/bin/pgload" idle -addr "127.0.0.1:${PORT[$n]}" -n $k -pid "${PID[$n]}" -warm $IDLEWARM 2>>"$OUT/err.log")
      echo "idle-$k $n $o" | tee -a "$OUT/idle.txt"
      printf 'idle-%s\t1\t%s\t%s\t0\t0\n' "$k" "$n" "$(sed -n 's/.*kib_per_conn=\([0-9.]*\).*/\1/p' <<<"$o")" >>"$RAW"; sleep 2
    done; done; continue
  fi
  for r in $(seq $R); do for i in $(seq 0 $((${#NAMES[@]}-1))); do one $s $r "${NAMES[$(( (i+r-1) % ${#NAMES[@]} ))]}"; done; done
  echo "done $s $(date +%T)"
done
# medians: suite target median min max ratio-to-first cpu machine
med() { sort -n | awk '{a[NR]=$1} END{if(NR%2)print a[(NR+1)/2]; else print (a[NR/2]+a[NR/2+1])/2}'; }
{
  printf 'suite\ttarget\tmedian\tmin\tmax\tratio\tcpu\tmachine_cpu\n'
  for s in $(cut -f1 "$RAW" | awk '!x[$0]++'); do base=
    for n in "${NAMES[@]}"; do
      v=$(awk -F'\t' -v s=$s -v n=$n '$1==s&&$3==n{print $4}' "$RAW"); [ -n "$v" ] || continue
      m=$(med <<<"$v"); : "${base:=$m}"
      c=$(awk -F'\t' -v s=$s -v n=$n '$1==s&&$3==n{print $5}' "$RAW" | med); w=$(awk -F'\t' -v s=$s -v n=$n '$1==s&&$3==n{print $6}' "$RAW" | med)
      printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' $s $n $m "$(sort -n <<<"$v" | head -1)" "$(sort -n <<<"$v" | tail -1)" "$(awk -v a=$m -v b=$base 'BEGIN{printf "%.3f",(b>0)?a/b:0}')" $c $w
    done
  done
} >"$OUT/summary.tsv"
# The tables as they stand in docs/performance.md, ready to be pasted, and then everything that was measured.
peers=("${NAMES[@]:1}")
of() { awk -F'\t' -v s="$1" -v n="$2" -v c="$3" '$1==s&&$2==n{print $c}' "$OUT/summary.tsv"; }
row() { local IFS='|'; echo "|$*|" | sed 's/|/ | /g; s/^ //; s/ $//'; }
{
  echo "$(date -u +%F), $(nproc) x $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), R=$R T=$T. Ratios to direct, and in parentheses the lowest and the highest round."
  echo
  row suite "${peers[@]}" "${peers[@]/#/CPU }"; echo "|---$(for _ in "${peers[@]}" "${peers[@]}"; do printf '|---'; done)|"
  for s in $(cut -f1 "$OUT/summary.tsv" | tail -n +2 | grep -Ev '^(rate|idle)-' | awk '!x[$0]++'); do
    base=$(of "$s" "${NAMES[0]}" 3); cells=()
    for n in "${peers[@]}"; do m=$(of "$s" "$n" 3)
      [ -n "$m" ] && cells+=("$(awk -v b="$base" -v m="$m" -v l="$(of "$s" "$n" 4)" -v h="$(of "$s" "$n" 5)" 'BEGIN{if(b<=0)b=1e-9; printf "%.2f (%.2f-%.2f)",m/b,l/b,h/b}')") || cells+=("")
    done
    for n in "${peers[@]}"; do c=$(of "$s" "$n" 7); cells+=("${c:+$(printf %.1f "$c")}"); done
    row "$s" "${cells[@]}"
  done
  if grep -q '^rate-' "$OUT/summary.tsv"; then
    echo; row "latency at $RATE/s, us" "${NAMES[@]}"; echo "|---$(for _ in "${NAMES[@]}"; do printf '|---'; done)|"
    for s in rate-p50 rate-p99 rate-p999; do cells=(); for n in "${NAMES[@]}"; do cells+=("$(of $s "$n" 3)"); done; row "${s#rate-}" "${cells[@]}"; done
  fi
  if grep -q '^idle-' "$OUT/summary.tsv"; then
    echo; row "KiB of memory for each idle session" "${peers[@]}"; echo "|---$(for _ in "${peers[@]}"; do printf '|---'; done)|"
    for s in $(cut -f1 "$OUT/summary.tsv" | grep '^idle-' | awk '!x[$0]++'); do cells=(); for n in "${peers[@]}"; do cells+=("$(of $s "$n" 3)"); done; row "${s#idle-}" "${cells[@]}"; done
  fi
  [ ! -s "$OUT/err.log" ] || { echo; echo "Runs that failed count as 0: see $OUT/err.log."; }
} >"$OUT/tables.md"
cat "$OUT/tables.md"
echo "tables: $OUT/tables.md, all figures: $OUT/summary.tsv"

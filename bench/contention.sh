#!/bin/bash
# Four ranks under `trident launch` while every processor also runs busy loops: a verdict here would be a false one.
#
#   bench/contention.sh [--seconds N] [--loops N]
#
#   --seconds N   how long to train (default: 1800)
#   --loops N     busy loops for each processor (default: 1)
#
# TRIDENT_BUILD_DIR  the build folder (default: build/ in the checkout)
#
# Trains the quick start's model on this repository's own text. Exit code 1 where a rank was blamed or a gang restarted.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
trident=${TRIDENT_BUILD_DIR:-$root/build}/trident
seconds=1800 loops=1

fail() {
  printf 'contention: error: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "usage: bench/contention.sh [--seconds N] [--loops N]"
  case $1 in
    --seconds) seconds=$2 ;;
    --loops) loops=$2 ;;
    *) fail "unknown option '$1'" ;;
  esac
  shift 2
done

[ -x "$trident" ] || fail "$trident is not there: build it, or name its folder in TRIDENT_BUILD_DIR"

work=$(mktemp -d)
started=()
end_all() {
  [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap end_all EXIT
trap 'exit 130' INT TERM

cd "$work"
"$trident" tokenize "$root"/docs/*.md --tokenizer byte --out data --no-progress >/dev/null
for ((i = 0; i < loops * $(nproc); i++)); do
  while :; do :; done &
  started+=($!)
done

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"$trident" launch "$root/configs/quickstart.yaml" --mpirun=--oversubscribe --mpirun=--quiet run.dir="$work" \
  data.train=data data.validation=data training.steps=1M logging.interval_steps=1000000 logging.sample_interval_steps=0 2>log &
agent=$!
started+=("$agent")
for ((second = 0; second < seconds; second++)); do
  sleep 1
  kill -0 "$agent" 2>/dev/null || break
done
kill -TERM "$agent" 2>/dev/null || true
status=0
wait "$agent" || status=$?

run=$work/quickstart
[ -s "$run/metrics.jsonl" ] || { cat log >&2; fail "no step was trained"; }
verdicts=$(grep -c '"event":"verdict"' "$run/events.jsonl") || true
starts=$(grep -c '"event":"begin"' "$run/epochs.jsonl") || true
sed -nE '/"loss"/s/.*"step_s":([^,]*),.*/\1/p' "$run/metrics.jsonl" | sort -g >step_times
count=$(wc -l <step_times)
printf 'contention: %d s, %d busy loops on %d processors: %d steps, median %.3f s, longest %.3f s\n' "$second" \
  $((loops * $(nproc))) "$(nproc)" "$count" "$(sed -n "$(((count + 1) / 2))p" step_times)" "$(tail -n 1 step_times)"
printf 'contention: %d verdicts, %d starts, exit code %d\n' "$verdicts" "$starts" "$status"
[ "$verdicts $starts $status" = "0 1 75" ] || { grep -h '"event":"verdict"' "$run/events.jsonl" >&2; tail -n 20 log >&2; exit 1; }

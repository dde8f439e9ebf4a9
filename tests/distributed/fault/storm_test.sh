#!/bin/bash
# One run with many random faults, one in every gang: each is named, and the run ends as if none had been.
#   storm_test.sh PROGRAM JSON_KEYS
# 100 faults of all kinds with TRIDENT_LONG_TESTS set, 10 otherwise, of which two are hangs. TRIDENT_SEED repeats a run.
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"

declare -A cause=([kill]=killed [segfault]=crash [exit]=exit [mismatch]='mismatched collectives' [stop]=stopped
  [livelock]=hang [skip]='skipped collective')
deaths=(kill segfault exit mismatch) hangs=(stop livelock skip) phases=(data forward optimizer exchange checkpoint)
faults=10 watchdog_s=120 words=()
[ -z "${TRIDENT_LONG_TESTS:-}" ] || faults=100 watchdog_s=1200 words=(fault.hang_timeout=1.5s)
RANDOM=${TRIDENT_SEED:-$$}
echo "TRIDENT_SEED=${TRIDENT_SEED:-$$}"

# Sets `schedule`, and `expected`: rank and cause of each. Three steps lie between two faults.
draw() {
  local i kind rank
  schedule='' expected=''
  for ((i = 1; i <= faults; i++)); do
    kind=${deaths[RANDOM % ${#deaths[@]}]}
    if [ $((i % 5)) -eq 3 ] || { [ $faults -gt 10 ] && [ $((RANDOM % 3)) -eq 0 ]; }; then
      kind=${hangs[RANDOM % ${#hangs[@]}]}
    fi
    rank=$((RANDOM % 4))
    schedule+="$kind@rank=$rank,step=$((3 * i + 1)),epoch=$i,phase=${phases[RANDOM % ${#phases[@]}]};"
    expected+="$rank ${cause[$kind]}"$'\n'
  done
  schedule=${schedule%;}
}

found() { grep '"event":"verdict"' runs/storm/events.jsonl | sed -E 's/.*"rank":([0-9]+),.*"cause":"([^"]*)".*/\1 \2/'; }

small_job
steps=(training.steps=$((3 * faults + 5)) fault.max_restarts=1000 "${words[@]}")
launch whole "${steps[@]}" || report "whole: exit $?: $(tail -n 20 whole.log)"
draw
launch storm "${steps[@]}" --inject "$schedule" || report "storm: exit $?: $(tail -n 20 storm.log)"
cmp -s <(printf '%s' "$expected") <(found) ||
  report "other verdicts than faults ($schedule): $(diff <(printf '%s' "$expected") <(found)) $(grep -a ' E ' storm.log | cut -c1-600)"
same_run whole storm
lost_at_most storm 1 $faults
clean storm
finish "$faults faults are survived"

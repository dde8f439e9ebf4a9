#!/bin/bash
# One run with many random faults: each is named, and the run ends as if none had been.
#   storm_test.sh PROGRAM JSON_KEYS
# 100 faults of all kinds with TRIDENT_LONG_TESTS set, 10 otherwise, of which two are hangs. TRIDENT_SEED repeats a run.
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"

seed=${TRIDENT_SEED:-$$}
echo "TRIDENT_SEED=$seed"
ends='kill, segfault, exit, mismatch, nan, flip' hangs='stop, livelock, skip'
faults=10 watchdog_s=120
echo "random: [{faults: 8, seed: $seed, kinds: [$ends], every_steps: 4},
  {faults: 2, seed: $seed, kinds: [$hangs], from_step: 6, every_steps: 12}]" >storm.yaml
if [ -n "${TRIDENT_LONG_TESTS:-}" ]; then
  faults=100 watchdog_s=1200
  echo "random: {faults: 100, seed: $seed, kinds: [$ends, $hangs]}" >storm.yaml
fi

small_job
steps=(training.steps=$((3 * faults + 10)) fault.max_restarts=1000 fault.check_replicas_steps=1)
launch whole "${steps[@]}" || report "whole: exit $?: $(tail -n 20 whole.log)"
survives storm $faults "${steps[@]}"
grep 'I chaos: ' storm.log || true
echo "$(numbers storm | wc -l) steps, $(rows storm) of them computed"
[ "$(grep -c '"event":"verdict"' runs/storm/events.jsonl)" -eq $faults ] || report "storm: other verdicts than faults"
same_run whole storm
lost_at_most storm 1 $faults
clean storm
finish "$faults faults are survived"

#!/bin/bash
# Fewer places for ranks, and as many again: the layout follows, and no bit changes, nor is anything read from disk.
# Scenario of a node: replan (4 -> 3 -> 4 ranks). A slow rank is named: slow-rank-2x.
#   elastic_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"

wide=(parallelism.dp=4 parallelism.pp=1 training.global_batch_size=12 training.micro_batch_size=1
  fault.heartbeat=0.02s)
# So many that a busy machine sees the places return before the job ends.
long=(training.steps=160)

# from_memory NAME STARTS: every start but the first went on from memory.
from_memory() {
  [ "$(grep -c 'resumed step .* from memory' "$1.log")" -eq "$2" ] || report "$1: $(grep 'resumed' "$1.log")"
  ! grep -q 'resumed step .* from runs' "$1.log" || report "$1: read from disk: $(grep 'resumed' "$1.log")"
}

# meshes NAME: the layouts of a run's gangs.
meshes() { grep '"event":"begin"' "runs/$1/epochs.jsonl" | grep -oE '"dp":[0-9]+,"tp":[0-9]+,"pp":[0-9]+' | tr -d '"' | tr '\n' ' '; }

replan() {
  launch wide "${wide[@]}" "${long[@]}" || report "wide: exit $?: $(tail -n 20 wide.log)"
  launch replan "${wide[@]}" "${long[@]}" --inject 'lose@rank=3,step=6;restore@epoch=2,step=9' ||
    report "replan: exit $?: $(tail -n 20 replan.log)"
  [ "$(meshes replan)" = "dp:4,tp:1,pp:1 dp:3,tp:1,pp:1 dp:4,tp:1,pp:1 " ] || report "replan: $(meshes replan)"
  same_run wide replan
  # Growing loses nothing.
  lost_at_most replan 1 1
  from_memory replan 2
  clean replan
}

# Two replicas are all that the logical shards allow, and wait for no pipeline.
replan_pipeline() {
  launch cut --inject 'lose@rank=3,step=6' ||
    report "cut: exit $?: $(tail -n 20 cut.log)"
  [ "$(meshes cut)" = "dp:2,tp:1,pp:2 dp:2,tp:1,pp:1 " ] || report "cut: $(meshes cut)"
  same_run whole cut
  lost_at_most cut 1 1
  from_memory cut 1
  clean cut
}

too_few() {
  local status=0
  launch few "${wide[@]}" "${long[@]}" fault.min_ranks=4 --inject 'lose@rank=3,step=6' || status=$?
  [ $status -eq 69 ] || report "few: exit $status"
  grep -q 'places for 3 ranks are left, and no layout of at least 4' few.log || report "few: $(tail -n 3 few.log)"
  launch few "${wide[@]}" "${long[@]}" || report "few: does not go on"
  same_run wide few
  clean few
}

slow_rank() {
  launch slow "${wide[@]}" training.steps=40 --inject 'slow@rank=1,step=3,seconds=0.1' || report "slow: exit $?"
  grep -q '"event":"straggler".*"rank":1,' runs/slow/events.jsonl || report "slow: not named: $(cat runs/slow/events.jsonl)"
  ! grep '"event":"straggler"' runs/slow/events.jsonl | grep -v '"rank":1,' >/dev/null || report "slow: others are named"
}

small_job
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
replan
replan_pipeline
too_few
slow_rank
finish "layouts follow what is left"

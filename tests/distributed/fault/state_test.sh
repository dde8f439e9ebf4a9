#!/bin/bash
# Ranks that live but compute something wrong. Scenarios of a node: nan-batch, bitflip in weight, gradient and snapshot.
#   state_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"

# What happens once is gone when the step is done again.
nan_once() {
  echo 'faults: [{kind: nan, rank: 2, step: 6}]' >nan-once.yaml
  survives nan-once 1
  same_run whole nan-once
  lost_at_most nan-once 1 1
  clean nan-once
}

# What comes again when the step is done again follows the data or the program: no restart mends it.
nan_batch() {
  local status=0
  echo 'faults: [{kind: nan, rank: 1, step: 6, follows: data}]' >nan-batch.yaml
  chaos nan-batch || status=$?
  [ $status -eq 76 ] || report "nan-batch: exit $status: $(tail -n 10 nan-batch.log)"
  [ "$(grep -c '"event":"verdict".*"rank":1,.*"cause":"not finite"' runs/nan-batch/events.jsonl)" -eq 2 ] ||
    report "nan-batch: $(grep '"event":"verdict"' runs/nan-batch/events.jsonl)"
  grep -q 'again at step 6: it follows the data or the program' nan-batch.log || report "nan-batch: $(tail -n 5 nan-batch.log)"
  # The state before that step is on disk, for whoever mends the cause.
  [ -d runs/nan-batch/checkpoints/step_00000005 ] || report "nan-batch: the state is not saved"
  clean nan-batch
  launch nan-batch || report "nan-batch: does not go on: exit $?"
  same_run whole nan-batch
}

# flips PLACE WORDS...: in memory that is read again, at every step of a few.
flips() {
  local name=flip-$1 place=$1
  shift
  echo "faults: [{kind: flip, in: $place, rank: 3, step: 7, seed: ${seed:-5}}]" >"$name.yaml"
  survives "$name" 1 "$@"
  same_run "${same:-whole}" "$name"
  clean "$name"
}

# In what every rank holds, the change stays: it is found at the next comparison, and what came after it is done again.
flip_replicated() {
  local replicas=(parallelism.dp=3 parallelism.pp=1 parallelism.zero_stage=0 training.micro_batch_size=1
    checkpoint.interval_steps=4 checkpoint.async=false)
  launch replicas "${replicas[@]}" || report "replicas: exit $?: $(tail -n 5 replicas.log)"
  echo 'faults: [{kind: flip, in: gradient, rank: 2, step: 6}]' >flip-gradient.yaml
  survives flip-gradient 1 "${replicas[@]}" fault.check_replicas_steps=4
  grep -q 'resumed step 4 from' flip-gradient.log || report "flip-gradient: $(grep resumed flip-gradient.log)"
  same_run replicas flip-gradient
  lost_at_most flip-gradient 5 1
  clean flip-gradient
}

# A snapshot that is not what was copied is passed over.
flip_snapshot() {
  printf 'faults: [{kind: flip, in: snapshot, rank: 1, step: 7}, {kind: kill, rank: 0, step: 7, phase: exchange}]' \
    >flip-snapshot.yaml
  survives flip-snapshot 2
  grep -q 'resumed step 5 from memory' flip-snapshot.log || report "flip-snapshot: $(grep resumed flip-snapshot.log)"
  same_run whole flip-snapshot
  lost_at_most flip-snapshot 2 1
  clean flip-snapshot
}

small_job
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
nan_once
nan_batch
flips weight fault.check_replicas_steps=1
flip_replicated
flip_snapshot
finish "wrong values are found"

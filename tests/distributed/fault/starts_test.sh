#!/bin/bash
# What `trident launch` refuses before it starts a rank, and what it says of ranks that do not start.
#   starts_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/launch/answers.sh
source "$here/../../launch/answers.sh"
unset OMPI_MCA_rmaps_base_oversubscribe

refused() {
  echo 'no-such-host.invalid slots=2' >elsewhere
  refuses 78 'is not in the hostfile; start the job on one of its hosts' launch job.yaml --hostfile elsewhere
  refuses 66 'cannot read hostfile none: No such file or directory; write a line .name slots=N.' launch job.yaml --hostfile none
  refuses 78 "start 2: trident launch --mpirun=-q --ranks 2 job.yaml parallelism.dp=2 \[E125\]" launch job.yaml parallelism.dp=2 \
    --ranks 3 --mpirun=-q
  refuses 66 'nowhere\.idx.*trident tokenize' launch job.yaml data.train=nowhere
  refuses 66 'nowhere\.idx' launch job.yaml data.validation=nowhere
  refuses 66 'nowhere: No such file' launch job.yaml tokenizer.kind=huggingface tokenizer.path=nowhere
  refuses 66 'step_00000007 is not there' launch job.yaml checkpoint.resume=7
  [ ! -e runs ] || report "a refused job made a run directory"
}

# A host takes the ranks that its slots allow, with a hostfile of one line too.
one_host() {
  local cores
  cores=$(nproc)
  echo "localhost slots=$((cores + 1))" >here
  timeout --kill-after=5 60 "$program" launch job.yaml run.name=slots training.global_batch_size=$((cores + 1)) \
    training.micro_batch_size=1 parallelism.dp=auto --hostfile here 2>slots.log || report "slots: exit $?: $(cat slots.log)"
  grep -q "epoch 1: $((cores + 1)) ranks" slots.log || report "slots: $(grep 'epoch 1' slots.log)"
}

small_job
refused
one_host
finish "what cannot start is refused, or named"

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

# What explains a failed start is seen, above the sentence; what only follows a verdict is not.
mpiruns_words() {
  local status=0
  launch killed --inject 'kill@rank=2,step=2' training.steps=4 || report "killed: exit $?: $(tail -n 5 killed.log)"
  verdict killed 2 killed
  ! grep -E '^(mpirun|-----|Primary job)' killed.log || report "killed: (above) mpirun's words"
  grep -q 'epoch 1$' runs/killed/logs/mpirun.log || report "killed: $(cat runs/killed/logs/mpirun.log)"
  timeout --kill-after=5 60 "$program" launch job.yaml run.name=many training.global_batch_size=99 \
    training.micro_batch_size=1 parallelism.dp=99 2>many.log || status=$?
  [ $status -eq 69 ] || report "many: exit $status: $(cat many.log)"
  sed '/no rank has started: its own words are above.*--mpirun=--oversubscribe/q' many.log |
    grep 'There are not enough slots' >/dev/null || report "many: mpirun's words are lost: $(cat many.log)"
}

# In a mount namespace of its own, /dev/shm is small, and full of what nobody removed.
full_shared_memory() {
  local status=0
  if ! unshare -m true 2>/dev/null; then
    echo "full shared memory: not tried, no mounts here"
    return
  fi
  # shellcheck disable=SC2016  # expanded there
  unshare -m bash -c 'mount -t tmpfs -o size=16m tmpfs /dev/shm && head -c 8M /dev/zero >/dev/shm/fill &&
    exec timeout --kill-after=5 60 "$@"' shm "$program" launch job.yaml run.name=full "${job[@]}" \
    --mpirun=--oversubscribe 2>full.log || status=$?
  [ $status -eq 74 ] || report "full: exit $status: $(cat full.log)"
  grep -q '/dev/shm is full: 8.0 of 16.0 MiB are left, and Open MPI needs 12.7 MiB for 4 ranks; .*--shm-size' full.log ||
    report "full: $(cat full.log)"
}

small_job
refused
one_host
mpiruns_words
full_shared_memory
clean starts
finish "what cannot start is refused, or named"

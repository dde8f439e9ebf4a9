#!/bin/bash
# launch/slurm/trident.sbatch under a Slurm of two nodes on this machine: the signal before the time limit, or a job that
# takes its place, makes a job save and queue itself again, it goes on, and its losses are those of a run that never
# stopped. Scenario: slurm-preempt.
#   slurm_test.sh PROGRAM JSON_KEYS
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=tests/launch/small_job.sh
source "$here/../launch/small_job.sh"
# shellcheck source=tests/distributed/mpirun.sh
source "$here/mpirun.sh"
# shellcheck source=tests/distributed/slurm.sh
source "$here/slurm.sh"
trap 'end_slurm; end_of_ranks; rm -rf "$work"' EXIT
# Both nodes have this machine's name, but their ranks are not neighbours.
export OMPI_MCA_btl=tcp,self TRIDENT=$program
script=$here/../../launch/slurm/trident.sbatch
job=(parallelism.dp=2 parallelism.logical_shards=2 training.steps=1M training.micro_batch_size=3
  evaluation.interval_steps=0 checkpoint.interval_steps=0 logging.interval_steps=1000)

# until_true WHAT COMMAND...: fails where it does not become true.
until_true() {
  local waited=0
  until "${@:2}"; do
    [ $waited -lt 600 ] || { report "$1: $(squeue; tail -n 5 "$work"/*.log "$slurm"/*.out)"; return 1; }
    sleep 0.1
    waited=$((waited + 1))
  done
}

# rows NAME ATTEMPT: steps of that attempt.
rows() { awk -v attempt="\"attempt\":$2," 'index($0, attempt) && /"loss"/ { n++ } END { print n + 0 }' "runs/$1/metrics.jsonl"; }
has_rows() { [ -e "runs/$1/metrics.jsonl" ] && [ "$(rows "$1" "$2")" -ge 20 ]; }
waits_again() { [ "$(squeue -h -j "$1" -o '%T %r')" = "PENDING BeginTime" ]; }
losses() { grep '"loss"' "runs/$1/metrics.jsonl" | sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*/\1 \2/'; }

# submit NAME OPTIONS...: the job as the run of that name; its number is in `id`.
submit() {
  id=$(sbatch --parsable --output="$1.log" --cpus-per-task=1 "${@:2}" "$script" job.yaml run.name="$1" "${job[@]}")
  until_true "$1: does not start" has_rows "$1" 1
}

# goes_on NAME: from where it stopped. Slurm would wait for two minutes; a node takes back a job that it has ended from the
# next second on.
goes_on() {
  local last
  last=$(losses "$1" | tail -n 1 | cut -d' ' -f1)
  sleep 2
  scontrol update JobId="$id" StartTime=now
  until_true "$1: does not go on" has_rows "$1" 2 || return 1
  grep -q "resumed step $last from" "$1.log" || report "$1: goes on elsewhere than from step $last"
}

# as_never_stopped NAME: its losses so far.
as_never_stopped() {
  local last
  last=$(losses "$1" | tail -n 1 | cut -d' ' -f1)
  "$program" train job.yaml run.name="$1-whole" "${job[@]}" parallelism.dp=1 training.stop_after="$last" 2>>whole.log
  cmp -s <(losses "$1") <(losses "$1-whole") || report "$1: other losses than those of a run that never stopped"
}

# requeued NAME OPTIONS...: the job, interrupted twice.
requeued() {
  local name=$1 id
  submit "$@" || return 0
  scancel --batch --signal=USR1 "$id"
  until_true "$name: does not queue itself again" waits_again "$id" || return 0
  grep -q '^trident.sbatch: the state is saved; back to the queue' "$name.log" || report "$name: does not say what it does"
  goes_on "$name" || return 0
  scancel --batch --signal=USR1 "$id"
  until_true "$name: does not queue itself a second time" waits_again "$id" || return 0
  scancel "$id"
  as_never_stopped "$name"
}

# preempted NAME OPTIONS...: another job takes its place, and what it had done is on disk before the grace of 20 s is over.
preempted() {
  local name=$1 id urgent began=$SECONDS
  submit "$@" || return 0
  urgent=$(sbatch --parsable --partition=urgent --exclusive --nodes=2 --output=/dev/null --wrap 'sleep 2')
  until_true "$name: keeps its place" waits "$id" || return 0
  grep -q '^trident.sbatch: the state is saved; back to the queue' "$name.log" || report "$name: does not say what it does"
  [ $((SECONDS - began)) -lt 20 ] || report "$name: is saved only when the grace is over"
  until_true "$name: the other job does not end" is_over "$urgent" || return 0
  goes_on "$name" || return 0
  scancel --batch --signal=USR1 "$id"
  until_true "$name: does not stop" waits "$id" || return 0
  scancel "$id"
  as_never_stopped "$name"
}
waits() { [ "$(squeue -h -j "$1" -o %T)" = PENDING ]; }
is_over() { [ -z "$(squeue -h -j "$1" -o %T 2>/dev/null)" ]; }

# Open MPI needs PMIx of Slurm; the program says so in words of its own.
without_pmix() {
  local status=0
  timeout 60 srun -n 2 --mpi=none "$program" train job.yaml parallelism.dp=2 2>none.log || status=$?
  [ $status -eq 78 ] || report "srun without PMIx: exit $status: $(cat none.log)"
  grep -q 'srun --mpi=pmix' none.log || report "srun without PMIx: $(cat none.log)"
}

small_job
start_slurm
without_pmix
requeued one-node --nodes=1 --ntasks-per-node=2
requeued two-nodes --nodes=2 --ntasks-per-node=1
preempted preempted --nodes=1 --ntasks-per-node=2
preempted preempted-two --nodes=2 --ntasks-per-node=1
end_slurm
left=$(leftovers)
[ -z "$left" ] || report "$left"
finish "a job under Slurm saves, queues itself again and goes on"

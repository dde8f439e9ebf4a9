# shellcheck shell=bash
# What the tests of faults share; they source it with the program and json_keys as arguments. Exit 77 (skipped) without
# mpirun.
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=tests/launch/small_job.sh
source "$here/../../launch/small_job.sh"
# shellcheck source=tests/launch/runs.sh
source "$here/../../launch/runs.sh"
# shellcheck source=tests/distributed/mpirun.sh
source "$here/../mpirun.sh"
unset OMPI_MCA_pml OMPI_MCA_btl OMPI_MCA_btl_vader_single_copy_mechanism
shared_before=$(find /dev/shm -name 'trident.*' | sort)
# What a test that failed leaves.
forget_shared() { comm -13 <(echo "$shared_before") <(find /dev/shm -name 'trident.*' | sort) | xargs -r rm -rf; }
trap 'end_of_ranks; forget_shared; rm -rf "$work"' EXIT

# Steps are so short that storage would lag behind.
job=(parallelism.dp=2 parallelism.pp=2 parallelism.schedule=1f1b training.steps=16 evaluation.interval_steps=0
  checkpoint.interval_steps=0)

# launch NAME WORDS...: the job as the run of that name, within the watchdog's time; its exit code.
start() {
  local name=$1
  shift
  timeout --kill-after=5 "${watchdog_s:-120}" "$program" launch job.yaml run.name="$name" "${job[@]}" --mpirun=--oversubscribe "$@" \
    2>>"$name.log" &
  watchdog=$!
}
# The process of the agent that runs.
agent() { pgrep -P "$watchdog"; }
launch() {
  local status=0
  start "$@"
  wait "$watchdog" || status=$?
  return $status
}

# rows NAME: how many steps were computed, those done again too.
rows() { grep -c '"loss"' "runs/$1/metrics.jsonl"; }

# lost_at_most NAME STEPS RESTARTS: no more than that many steps were done again for each restart.
lost_at_most() {
  local again=$(($(rows "$1") - $(numbers "$1" | wc -l)))
  [ $again -le $(($2 * $3)) ] || report "$1: $again steps were done again in $3 restarts"
}

# verdict NAME RANK CAUSE: one verdict names this rank and cause.
verdict() {
  [ "$(grep -c '"event":"verdict"' "runs/$1/events.jsonl")" -eq 1 ] || report "$1: not one verdict: $(cat "$1.log")"
  grep -q "\"event\":\"verdict\".*\"rank\":$2,.*\"cause\":\"$3\"" "runs/$1/events.jsonl" ||
    report "$1: the verdict is not rank $2, $3: $(grep '"event":"verdict"' "runs/$1/events.jsonl")"
}

# Processes of this test, agents and guardians too, shared memory and folders of jobs.
clean() {
  local left
  left=$(leftovers)
  [ -z "$left" ] || report "$1: $left: $(ls /dev/shm)"
}

# recovers NAME RANK CAUSE FAULT WORDS...: a run with that fault goes on as if nothing had been.
recovers() {
  local name=$1 rank=$2 cause=$3 fault=$4 status=0
  shift 4
  launch "$name" --inject "$fault" "$@" || status=$?
  [ $status -eq 0 ] || report "$name: exit $status: $(tail -n 20 "$name.log")"
  verdict "$name" "$rank" "$cause"
  [ "$(grep -c '"event":"restart"' "runs/$name/events.jsonl")" -eq 1 ] || report "$name: not one restart"
  same_run whole "$name"
  lost_at_most "$name" 1 1
  clean "$name"
}

#!/bin/bash
# Jobs over two and three nodes, one after another for as long as wanted, each under random faults of ranks, links,
# agents and the coordinator: every fault is named, every job ends with the bits of one without faults, nothing is left.
#   soak.sh PROGRAM JSON_KEYS [SECONDS]
# Not part of the suite. TRIDENT_SEED repeats a run. Where too few nodes are left to agree on a coordinator, the same
# command is given again, as an operator would; how often is told. Left out are kinds that take places away (lose), that
# need a control group (hog), or many undisturbed steps to be seen (slow).
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/nodes.sh
source "$here/nodes.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"

seconds=${3:-300} seed=${TRIDENT_SEED:-$$} faults=6 steps=110
echo "TRIDENT_SEED=$seed"
watchdog_s=400
of_ranks='kill, stop, segfault, exit, leave, skip, mismatch, livelock, nan, flip, full_disk, hung_disk'
of_nodes='cut_link, one_way_link, forged_frames, agent_kill'
words=("training.steps=$steps" evaluation.interval_steps=1 evaluation.batches=30 checkpoint.interval_steps=5
  fault.max_restarts=1000 fault.check_replicas_steps=1 fault.hang_timeout=4s)
commands=0 injected=0

# schedule NAME ROUND KINDS: faults of ranks and nodes by turns.
schedule() {
  printf 'random: [{faults: %d, seed: %d, kinds: [%s], from_step: 8, every_steps: 30},\n' $((faults / 2)) $(($2 * 2)) "$of_ranks"
  printf '  {faults: %d, seed: %d, kinds: [%s], from_step: 22, every_steps: 30}]\n' $((faults / 2)) $(($2 * 2 + 1)) "$3"
}

jobs_anywhere() { for node in "$@"; do jobs_on "$node"; done; }

# until_over NAME NODE...: waits while anybody works at it; whether it came to its end.
until_over() {
  local name=$1 waited=0
  shift
  while [ -n "$(jobs_anywhere "$@")" ]; do
    [ $waited -lt $((10 * watchdog_s)) ] || return 1
    sleep 0.1
    waited=$((waited + 1))
  done
  grep -q "\"step\":$steps,\"loss\"" "runs/$name/metrics.jsonl"
}

# round NAME NODE...
round() {
  local name=$1 tries=0 status
  shift
  while :; do
    status=0
    start_chaos_on a "$name" "${words[@]}"
    wait "$watchdog" || status=$?
    commands=$((commands + 1)) tries=$((tries + 1))
    ! until_over "$name" "$@" || break
    [ $tries -lt 8 ] || { report "$name: does not end: $(tail -n 5 "$name.log")"; return 0; }
  done
  case $status in 0 | 69 | 137) ;; *) report "$name: exit $status: $(grep chaos: "$name.log" || tail -n 5 "$name.log")" ;; esac
  injected=$((injected + $(wc -l <"runs/$name/chaos.jsonl")))
  ! grep '"right":false' "runs/$name/chaos.jsonl" || report "$name: wrongly named"
  same_run whole "$name"
  for node in "$@"; do on "$node" find /dev/shm -name 'trident*snapshot*' -delete; done  # of nodes that came back too late
  nothing_left "$name" "$@"
}

small_job
make_nodes a b c
launch whole "${words[@]}" || report "whole: exit $?: $(tail -n 20 whole.log)"
began=$SECONDS rounds=0
while [ $((SECONDS - began)) -lt "$seconds" ]; do
  rounds=$((rounds + 1)) name=soak-$((rounds + seed)) before=$failures
  if [ $((rounds % 2)) -eq 0 ]; then
    nodes=(a b)
    hostfile 2 a b
    schedule "$name" $((rounds + seed)) "$of_nodes" >"$name.yaml"
  else
    nodes=(a b c)
    printf 'a slots=2\nb slots=1\nc slots=1\n' >hostfile
    schedule "$name" $((rounds + seed)) "$of_nodes, coordinator_kill" >"$name.yaml"
  fi
  round "$name" "${nodes[@]}"
  echo "$name on ${#nodes[@]} nodes: $(sed -E 's/.*"kind":"([a-z_]*)".*/\1/' "runs/$name/chaos.jsonl" | tr '\n' ' ')"
  [ "$failures" -eq "$before" ] || { cat "$name.yaml"; grep -h '"verdict"' "runs/$name/events.jsonl" | cut -c1-300; }
done
echo "$injected faults in $rounds jobs and $((SECONDS - began)) s, by $commands commands"
finish "$rounds jobs are as if there had been no fault"

#!/bin/bash
# Ranks that die: named, and the run goes on bit for bit. Scenarios of a node: kill9-worker, segv-in-backward,
# exit0-early, a crash loop, kill9-mpirun, kill9-agent.
#   crashes_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"

# start_long NAME: its first gang takes 20 s for 400 steps, so that something can happen to it. Fails where it never
# comes to step 3.
start_long() {
  start "$1" training.steps=400 --inject 'slow@rank=0,step=4,seconds=0.05'
  until_step "$1" 3
}

# ended NAME STATUS: the exit code of the run that was started.
ended() {
  local status=0
  wait "$watchdog" 2>/dev/null || status=$?
  [ $status -eq "$2" ] || report "$1: exit $status, expected $2: $(tail -n 20 "$1.log")"
}

# pid_of NAME RANK: the worker's process in the newest gang.
pid_of() {
  grep '"event":"workers"' "runs/$1/epochs.jsonl" | tail -n 1 | grep -oE '\[.*\]' | tr -d '[]' | cut -d, -f$(($2 + 1))
}

kill9_worker() {
  start_long kill9-worker || return 0
  kill -KILL "$(pid_of kill9-worker 2)"
  ended kill9-worker 0
  verdict kill9-worker 2 killed
  lost_at_most kill9-worker 1 1
  launch whole-long training.steps=400 || report "whole-long: exit $?"
  same_run whole-long kill9-worker
  clean kill9-worker
}

# Without snapshots in memory, from the newest checkpoint.
from_disk() {
  launch from-disk --inject 'kill@rank=0,step=7' fault.snapshot_interval_steps=0 checkpoint.interval_steps=4 \
    checkpoint.async=false || report "from-disk: exit $?: $(tail -n 20 from-disk.log)"
  grep -q 'resumed step 4 from .*step_00000004' from-disk.log || report "from-disk: $(grep resumed from-disk.log)"
  same_run whole from-disk
  clean from-disk
}

# After the last step was saved: memory and disk hold the same.
killed_at_the_end() {
  recovers killed-at-the-end 0 killed 'kill@rank=0,step=16,phase=end' checkpoint.interval_steps=4 checkpoint.async=false
  grep -q 'resumed step 16 from memory' killed-at-the-end.log || report "killed-at-the-end: not resumed at the end"
}

# Two gangs die before they have gone on from where the first was.
kill_during_recovery() {
  launch kill-during-recovery \
    --inject 'kill@rank=2,step=6;kill@rank=1,step=1,epoch=2,phase=resume;segfault@rank=0,step=1,epoch=3,phase=resume' ||
    report "kill-during-recovery: exit $?: $(tail -n 20 kill-during-recovery.log)"
  [ "$(grep -c '"event":"verdict"' runs/kill-during-recovery/events.jsonl)" -eq 3 ] ||
    report "kill-during-recovery: not 3 verdicts"
  same_run whole kill-during-recovery
  lost_at_most kill-during-recovery 1 1
  clean kill-during-recovery
}

interrupted() {
  start_long interrupted || return 0
  kill -STOP "$(pid_of interrupted 1)"  # it cannot save any more
  kill -INT "$(agent)"
  sleep 0.2
  kill -INT "$(agent)"  # the second one waits for nothing
  ended interrupted 130
  launch interrupted training.steps=400 || report "interrupted: does not go on"
  same_run whole-long interrupted
  clean interrupted
}

# One rank alone, with the bits of four.
one_rank() {
  recovers one-rank 0 killed 'kill@rank=0,step=6' parallelism.dp=1 parallelism.pp=1 parallelism.logical_shards=2
}

crash_loop() {
  local status=0
  launch crash-loop --inject 'kill@rank=1,step=4,epoch=0,phase=exchange' || status=$?
  [ $status -eq 69 ] || report "crash-loop: exit $status: $(tail -n 20 crash-loop.log)"
  grep -q '3 starts in a row have committed no step, and all failed at step 4' crash-loop.log ||
    report "crash-loop: the reason is not said: $(tail -n 5 crash-loop.log)"
  [ "$(grep -c '"event":"verdict"' runs/crash-loop/events.jsonl)" -eq 4 ] || report "crash-loop: not 4 verdicts"
  # The state in memory is kept for whoever mends the cause; so is a run that goes on then.
  launch crash-loop || report "crash-loop: does not go on: $(tail -n 20 crash-loop.log)"
  same_run whole crash-loop
  clean crash-loop
}

kill9_mpirun() {
  start_long kill9-mpirun || return 0
  kill -KILL "$(pgrep -P "$(agent)" mpirun)"
  ended kill9-mpirun 0
  grep -q '"event":"verdict".*"cause":"launcher lost"' runs/kill9-mpirun/events.jsonl || report "kill9-mpirun: not named"
  same_run whole-long kill9-mpirun
  clean kill9-mpirun
}

kill9_agent() {
  local waited=0
  start_long kill9-agent || return 0
  kill -KILL "$(agent)"
  ended kill9-agent 137
  while [ -n "$(our_ranks)" ] && [ $waited -lt 20 ]; do sleep 0.1; waited=$((waited + 1)); done
  [ -z "$(our_ranks)" ] || report "kill9-agent: ranks outlive it by 2 s: $(our_ranks)"
  [ -z "$(find /dev/shm -name 'trident.*' ! -name '*.snapshot.*')" ] || report "kill9-agent: left $(ls /dev/shm)"
  launch kill9-agent training.steps=400 || report "kill9-agent: does not go on: exit $?"
  grep -q 'resumed step [0-9]* from memory' kill9-agent.log || report "kill9-agent: the snapshots are not used"
  lost_at_most kill9-agent 1 1
  same_run whole-long kill9-agent
  clean kill9-agent
}

stop_on_demand() {
  start_long stopped || return 0
  kill -TERM "$(agent)"
  ended stopped 75
  launch stopped training.steps=400 || report "stopped: does not go on"
  same_run whole-long stopped
  clean stopped
}

# What a restart would only repeat ends the job with its own code.
no_restart() {
  local status=0
  launch diverges optimizer.lr=1e30 training.clip_grad_norm=0 || status=$?
  [ $status -eq 76 ] || report "diverges: exit $status"
  # Once, to see whether it comes again.
  [ "$(grep -c '"event":"begin"' runs/diverges/epochs.jsonl)" -eq 2 ] || report "diverges: not done again just once"
  clean diverges
  status=0
  launch refused parallelism.tp=3 || status=$?
  [ $status -eq 78 ] || report "refused: exit $status"
  [ ! -e runs/refused ] || report "refused: left a run directory"
}

small_job
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
kill9_worker
recovers segv-in-backward 1 crash 'segfault@rank=1,step=6'
grep -q 'trident(' segv-in-backward.log || report "segv-in-backward: no stack: $(cat segv-in-backward.log)"
recovers exit0-early 3 exit 'exit@rank=3,step=6'
recovers exit3-in-optimizer 0 exit 'exit@rank=0,step=6,code=3,phase=optimizer'
one_rank
killed_at_the_end
kill_during_recovery
from_disk
crash_loop
kill9_mpirun
kill9_agent
stop_on_demand
interrupted
no_restart
finish "ranks may die"

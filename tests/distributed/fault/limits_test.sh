#!/bin/bash
# A node whose memory, shared memory or clock is not what it should be, and an agent that sleeps. Scenarios of a node:
# oom-kill, shm-exhausted, clock-jump.
#   limits_test.sh PROGRAM JSON_KEYS
# Each is passed over, with a reason, where this machine does not let it happen.
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"

group=''
trap '[ -z "$group" ] || rmdir "$group" 2>/dev/null || true; end_of_ranks; forget_shared; rm -rf "$work"' EXIT

# limited_group BYTES: makes a control group of that much memory, and sets `group` to its folder.
limited_group() {
  local name=trident-test-$$ file
  if [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
    group=/sys/fs/cgroup/memory/$name file=memory.limit_in_bytes
  elif grep -qsw memory /sys/fs/cgroup/cgroup.subtree_control; then
    group=/sys/fs/cgroup/$name file=memory.max
  else
    return 1
  fi
  mkdir "$group" 2>/dev/null || { group=''; return 1; }
  { echo "$1" >"$group/$file"; } 2>/dev/null
}

oom_kill() {
  if ! limited_group $((600 << 20)); then
    echo "oom-kill: not tried, no control group can be made here"
    return
  fi
  echo 'faults: [{kind: hog, rank: 2, step: 6}]' >oom-kill.yaml
  (
    echo $BASHPID >"$group/cgroup.procs"
    survives oom-kill 1
    exit $failures
  ) || report "oom-kill: (above)"
  grep -q "rank 2 .* was killed by the kernel for want of memory.*oom_kill count has grown" oom-kill.log ||
    report "oom-kill: not named: $(grep ' E ' oom-kill.log)"
  same_run whole oom-kill
  clean oom-kill
}

# Snapshots have no room in shared memory: training goes on without them, and says so.
shm_exhausted() {
  local large=(model.hidden_size=256 model.intermediate_size=1024 training.steps=8 checkpoint.interval_steps=3
    checkpoint.async=false)
  launch roomy "${large[@]}" || report "roomy: exit $?: $(tail -n 5 roomy.log)"
  # In a mount namespace of its own, /dev/shm is small, and full of what nobody removed.
  if ! unshare -m true 2>/dev/null; then
    echo "shm-exhausted: not tried, no mounts here"
    return
  fi
  # shellcheck disable=SC2016  # expanded there
  unshare -m bash -c 'mount -t tmpfs -o size=48m tmpfs /dev/shm && exec timeout --kill-after=5 60 "$@"' shm \
    "$program" launch job.yaml run.name=cramped "${job[@]}" "${large[@]}" --mpirun=--oversubscribe \
    --inject 'kill@rank=1,step=5' 2>>cramped.log || report "cramped: exit $?: $(tail -n 20 cramped.log)"
  grep -q 'no snapshots in shared memory.*MiB are free' cramped.log || report "cramped: not said: $(cat cramped.log)"
  grep -q 'resumed step 3 from .*step_00000003' cramped.log || report "cramped: $(grep resumed cramped.log)"
  verdict cramped 1 killed
  same_run roomy cramped
  clean cramped
}

# Only the wall clock may jump; what waits goes by the other.
clock_jump() {
  local library=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 offset status=0
  if [ ! -e $library ]; then
    echo "clock-jump: not tried, no libfaketime here"
    return
  fi
  echo +0 >clock
  LD_PRELOAD=$library DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 \
    FAKETIME_TIMESTAMP_FILE=$work/clock "$program" launch job.yaml run.name=clock "${job[@]}" training.steps=300 \
    --mpirun=--oversubscribe --inject 'slow@rank=0,step=1,seconds=0.01;kill@rank=1,step=200' 2>clock.log &
  watchdog=$!
  for offset in +1h -1h +0; do
    sleep 0.7
    echo "$offset" >clock.new
    mv clock.new clock
  done
  wait $watchdog || status=$?
  [ $status -eq 0 ] || report "clock: exit $status: $(tail -n 5 clock.log)"
  verdict clock 1 killed
  launch whole-300 training.steps=300 || report "whole-300: exit $?"
  same_run whole-300 clock
  clean clock
}

# An agent that did not run for a while does not blame the ranks, and is the only one of its run.
agent_sleeps() {
  local status=0
  start sleeper training.steps=300 --inject 'slow@rank=0,step=4,seconds=0.01'
  until grep -qs '"step":5,' runs/sleeper/metrics.jsonl; do sleep 0.02; done
  kill -STOP "$(agent)"
  sleep 1.5
  "$program" launch job.yaml run.name=sleeper "${job[@]}" 2>second.log || status=$?
  [ $status -eq 74 ] || report "sleeper: a second agent's exit: $status"
  grep -q 'another agent runs' second.log || report "sleeper: $(cat second.log)"
  kill -CONT "$(agent)"
  status=0
  wait "$watchdog" || status=$?
  [ $status -eq 0 ] || report "sleeper: exit $status: $(tail -n 5 sleeper.log)"
  ! grep '"event":"verdict"' runs/sleeper/events.jsonl || report "sleeper: a rank is blamed"
  clean sleeper
}

small_job
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
oom_kill
shm_exhausted
clock_jump
agent_sleeps
finish "the node's limits are found and named"

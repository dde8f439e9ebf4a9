#!/bin/bash
# A run that is stopped, killed, or short of disk goes on as if nothing had happened, with the same command.
#   resume_test.sh PROGRAM JSON_KEYS
# T5 kills 500 times with TRIDENT_LONG_TESTS set, 12 times otherwise.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=tests/launch/small_job.sh
source "$here/small_job.sh"
# shellcheck source=tests/launch/runs.sh
source "$here/runs.sh"
mounts=()
# A frozen disk cannot be unmounted.
unmount() { for place in "${mounts[@]}"; do fsfreeze -u "$place" 2>/dev/null || true; umount "$place" || true; done; }
trap 'unmount; rm -rf "$work"' EXIT

steps=(training.steps=12 evaluation.interval_steps=0 checkpoint.interval_steps=2 checkpoint.when_behind=wait)

# train NAME OVERRIDES...: the small job as the run of that name; its exit code.
train() {
  local name=$1
  shift
  "$program" train job.yaml run.name="$name" "${steps[@]}" "$@" 2>>"$name.log"
}

trains() { train "$@" || report "train $*: exit $?: $(tail -n 5 "$1.log")"; }

# clean NAME: nothing unfinished lies among a run's checkpoints.
clean() {
  local left
  left=$(find "runs/$1/checkpoints" -name '.tmp.*' -o -name '.del.*')
  [ -z "$left" ] || report "$1: left behind: $left"
}

all_intact() {
  local folder
  for folder in "runs/$1"/checkpoints/step_*; do
    case $folder in *.abandoned | *'*') continue ;; esac
    "$program" checkpoint verify "$folder" >/dev/null || report "$1: $folder is not intact"
  done
}

preempted() {
  local signal name status process
  for signal in TERM USR1; do
    name=on-$signal status=0
    train "$name" training.steps=2000 checkpoint.interval_steps=0 &
    process=$!
    until_step "$name" 3 || true
    # The subshell's child is the program itself.
    kill -s "$signal" "$(pgrep -P $process || echo $process)" 2>/dev/null || kill -s "$signal" $process
    wait $process || status=$?
    [ $status -eq 75 ] || report "$signal: exit $status, expected 75: $(tail -n 5 "$name.log")"
    train "$name" training.steps=2000 training.stop_after=40 checkpoint.interval_steps=0 || report "$signal: does not go on"
    grep -q 'resumed step' "$name.log" || report "$signal: started anew"
    train "whole-$signal" training.steps=2000 training.stop_after=40 checkpoint.interval_steps=0
    same_run "$name" "whole-$signal"
    clean "$name"
  done
}

newest() { find "runs/$1/checkpoints" -name 'step_????????' | sort | tail -n 1 | grep -oE '[0-9]+$' | sed 's/^0*//'; }

# T5: kill -9 at any time. killed SAVING LOST: what is there verifies, and no more than so many steps are lost.
killed() {
  local saving=$1 lost=$2 name=victim-$1 kills=6 kill status trained saved
  [ -z "${TRIDENT_LONG_TESTS:-}" ] || kills=250
  for ((kill = 0; kill < kills; kill++)); do
    status=0
    timeout -s KILL "0.$((10 + RANDOM % 50))" "$program" train job.yaml run.name="$name" "${steps[@]}" training.steps=60 \
      "$saving" 2>>"$name.log" || status=$?
    [ $status -eq 137 ] || [ $status -eq 0 ] || report "T5: exit $status: $(tail -n 3 "$name.log")"
    trained=$(numbers "$name" 2>/dev/null | tail -n 1 | cut -d' ' -f1 || true)
    saved=$(newest "$name" || true)
    [ $((${trained:-0} - ${saved:-0})) -le "$lost" ] || report "T5: $saving: trained $trained steps, saved $saved"
    [ ! -d "runs/$name/checkpoints" ] || all_intact "$name"
    [ $status -ne 0 ] || rm -rf "runs/$name" "$name.log"
  done 2>/dev/null
  trains "$name" training.steps=60
  same_run whole "$name"
  clean "$name"
}

damaged() {
  trains hurt training.steps=14 training.stop_after=12
  printf 'x' | dd of=runs/hurt/checkpoints/step_00000012/rank_00000.h5 bs=1 seek=9000 conv=notrunc status=none
  trains hurt training.steps=14
  grep -q 'damaged checkpoint step_00000012.*rank_00000.h5' hurt.log || report "damage is not named: $(cat hurt.log)"
  grep -q 'resumed step 10' hurt.log || report "the checkpoint before is not taken"
  grep -q '"cause":"damaged checkpoint"' runs/hurt/events.jsonl || report "no event tells of the damage"
  trains unhurt training.steps=14
  same_run hurt unhurt
}

# The disk fills up: training goes on, and the old checkpoint stays.
full_disk() {
  mkdir -p runs/full/checkpoints
  mount -t tmpfs -o size=1m tmpfs runs/full/checkpoints 2>/dev/null || { echo "full disk: not tried, no mounts here"; return; }
  mounts+=("$work/runs/full/checkpoints")
  local status=0
  train full checkpoint.keep=0 || status=$?
  [ $status -eq 74 ] || report "a full disk at the end: exit $status"
  [ "$(grep -c '"loss"' runs/full/metrics.jsonl)" -eq 12 ] || report "a full disk stopped the training"
  grep -q 'No space left on device' full.log || report "a full disk is not said: $(cat full.log)"
  grep -q '"event":"fault".*"phase":"checkpoint"' runs/full/events.jsonl || report "a full disk has no event"
  all_intact full
  clean full
  mount -o remount,size=100m runs/full/checkpoints
  train full checkpoint.keep=0 || report "with room again: exit $?"
  trains empty checkpoint.keep=0
  same_run full empty
}

read_only() {
  trains fixed training.stop_after=4
  mount --bind runs/fixed/checkpoints runs/fixed/checkpoints 2>/dev/null || { echo "read-only: not tried"; return; }
  mounts+=("$work/runs/fixed/checkpoints")
  mount -o remount,ro,bind runs/fixed/checkpoints
  local status=0
  train fixed || status=$?
  [ $status -eq 74 ] || report "a read-only folder: exit $status"
  grep -qE 'Read-only file system' fixed.log || report "a read-only folder is not said: $(cat fixed.log)"
  "$program" eval runs/fixed --data data --batches 1 >/dev/null || report "the old checkpoint cannot be read"
}

# A checkpoint that this user may not read is no damage: nothing older is taken, and nothing set aside.
unreadable() {
  local status=0 file=runs/locked/checkpoints/step_00000004/rank_00000.h5 as_user=()
  trains locked training.stop_after=4
  chmod 000 "$file"
  if [ -r "$file" ]; then # root may read everything
    command -v setpriv >/dev/null || { echo "unreadable: not tried"; return; }
    chmod a+rx . runs
    chmod -R a+rwX runs/locked
    chmod 000 "$file"
    as_user=(setpriv --reuid=65534 --clear-groups)
  fi
  "${as_user[@]}" "$program" train job.yaml run.name=locked training.steps=8 2>locked.log || status=$?
  [ $status -eq 78 ] || report "an unreadable checkpoint: exit $status"
  grep -q "$file: this user may not read it; nothing is known to be damaged" locked.log ||
    report "an unreadable checkpoint is not said: $(cat locked.log)"
  [ -e "$file" ] || report "an unreadable checkpoint is set aside"
  status=0
  "${as_user[@]}" "$program" checkpoint verify runs/locked >locked.txt 2>&1 || status=$?
  [ $status -eq 78 ] || report "verify of an unreadable checkpoint: exit $status: $(cat locked.txt)"
}

# Every write hangs for 80 steps (and 60 s with TRIDENT_LONG_TESTS set): training goes on, says so once, and the old
# checkpoint stays.
hung_disk() {
  local before process folder=runs/hung/checkpoints status=0 waited=0
  mkdir -p "$folder"
  truncate -s 64M disk.img
  if ! { mkfs.ext4 -q disk.img && mount -o loop disk.img "$folder"; } 2>/dev/null; then
    echo "hung disk: not tried, no loop devices here"
    return
  fi
  mounts+=("$work/$folder")
  "$program" train job.yaml run.name=hung "${steps[@]}" training.steps=1000000 checkpoint.interval_steps=20 \
    checkpoint.when_behind=skip 2>hung.log &
  process=$!
  until [ -d "$folder/step_00000020" ] || [ $waited -ge 600 ]; do sleep 0.02; waited=$((waited + 1)); done
  # The disk may have lagged before, by itself.
  local lagged
  lagged=$(grep -c '"cause":"slow storage"' runs/hung/events.jsonl || true)
  if fsfreeze -f "$folder" 2>/dev/null; then
    before=$(grep -c '"loss"' runs/hung/metrics.jsonl)
    [ -z "${TRIDENT_LONG_TESTS:-}" ] || sleep 60
    waited=0
    until [ "$(grep -c '"loss"' runs/hung/metrics.jsonl)" -ge $((before + 80)) ] || [ $waited -ge 1200 ]; do
      sleep 0.1
      waited=$((waited + 1))
    done
    [ $waited -lt 1200 ] || report "a hung disk stops the training"
    all_intact hung
    fsfreeze -u "$folder"
    said_once() { [ "$1" -ge 1 ] && [ "$1" -le $((lagged + 1)) ]; }
    said_once "$(grep -c '"cause":"slow storage"' runs/hung/events.jsonl)" || report "a hung disk has not one event"
    said_once "$(grep -c 'storage still writes' hung.log)" || report "a hung disk is not said once: $(cat hung.log)"
  else
    echo "hung disk: not tried, it cannot be frozen here"
  fi
  kill -s TERM $process
  wait $process || status=$?
  [ $status -eq 75 ] || report "hung disk: exit $status: $(tail -n 3 hung.log)"
  clean hung
}

# Wall time between checkpoints, and what retention keeps.
intervals() {
  trains timed checkpoint.interval_steps=0 checkpoint.interval=0.001s checkpoint.keep=0 training.steps=6
  [ "$(find runs/timed/checkpoints -maxdepth 1 -name 'step_*' | wc -l)" -ge 3 ] || report "checkpoint.interval makes none"
  trains kept checkpoint.interval_steps=1 checkpoint.keep=2 checkpoint.keep_every_steps=5 checkpoint.when_behind=wait
  [ "$(cd runs/kept/checkpoints && echo step_*)" = "step_00000005 step_00000010 step_00000011 step_00000012" ] ||
    report "kept: $(ls runs/kept/checkpoints)"
  trains synchronous checkpoint.async=false
  same_run kept synchronous
}

small_job
preempted
trains whole training.steps=60
killed checkpoint.async=false 2
killed checkpoint.when_behind=wait 6
damaged
full_disk
read_only
unreadable
hung_disk
intervals
finish "runs go on as promised"

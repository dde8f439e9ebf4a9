#!/bin/bash
# Disks that fill up, hang or hold something else. Scenarios of a node: disk-full, storage-hang, torn-checkpoint.
#   storage_test.sh PROGRAM JSON_KEYS
# Disks hang for 2 s, or with TRIDENT_LONG_TESTS set for 60 s.
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"
seconds=2
[ -z "${TRIDENT_LONG_TESTS:-}" ] || seconds=60

# until_event NAME PATTERN: fails where no such event comes.
until_event() {
  local waited=0
  until grep -qs "$2" "runs/$1/events.jsonl"; do
    [ $waited -lt 1200 ] || { report "$1: no event $2: $(cat "runs/$1/events.jsonl")"; return 1; }
    sleep 0.1
    waited=$((waited + 1))
  done
}

# outlives NAME: from the fault's event on, training goes on, and once the disk is well, so do checkpoints.
outlives() {
  local name=$1 event=$2 status=0 before
  timeout --kill-after=5 200 "$program" chaos "$name.yaml" job.yaml run.name="$name" "${job[@]}" training.steps=1000000 \
    checkpoint.interval_steps=5 logging.tensorboard=false --mpirun=--oversubscribe 2>>"$name.log" &
  watchdog=$!
  until_event "$name" "$event" || return 0
  before=$(rows "$name")
  until_event "$name" "$event" && sleep 0.3
  [ "$(rows "$name")" -gt "$before" ] || report "$name: training stands still"
  # After the fault's line there is one of a checkpoint that was saved.
  local waited=0
  until sed "1,/$event/d" "runs/$name/events.jsonl" | grep 'checkpoint_commit' >/dev/null; do
    [ $waited -lt 1200 ] || { report "$name: no checkpoint after it: $(tail -n 3 "runs/$name/events.jsonl")"; break; }
    sleep 0.1
    waited=$((waited + 1))
  done
  kill -TERM "$(agent)"
  wait "$watchdog" || status=$?
  [ $status -eq 75 ] || report "$name: exit $status: $(tail -n 5 "$name.log")"
  [ "$(grep -c '"right":true' "runs/$name/chaos.jsonl")" -eq 1 ] || report "$name: $(cat "runs/$name/chaos.jsonl")"
  ! grep '"event":"verdict"' "runs/$name/events.jsonl" || report "$name: a rank is blamed"
  "$program" checkpoint verify "runs/$name" >/dev/null || report "$name: the newest checkpoint is not intact"
  clean "$name"
}

# hurts NAME COMMAND...: the newest checkpoint, which is then passed over.
hurts() {
  local name=$1
  shift
  cp -r runs/sound "runs/$name"
  (cd "runs/$name/checkpoints/step_00000012" && "$@")
  "$program" train job.yaml run.name="$name" "${steps[@]}" 2>>"$name.log" || report "$name: exit $?: $(tail -n 3 "$name.log")"
  grep -q 'damaged checkpoint step_00000012' "$name.log" || report "$name: not named: $(cat "$name.log")"
  grep -q 'resumed step 10' "$name.log" || report "$name: the one before is not taken"
  same_run unhurt "$name"
}

torn_checkpoint() {
  local steps=(training.steps=14 evaluation.interval_steps=0 checkpoint.interval_steps=2 checkpoint.when_behind=wait)
  "$program" train job.yaml run.name=unhurt "${steps[@]}" 2>>unhurt.log
  "$program" train job.yaml run.name=sound "${steps[@]}" training.stop_after=12 2>>sound.log
  local manifest=MANIFEST.json shard=rank_00000.h5
  hurts cut-shard truncate -s -100 $shard
  hurts empty-shard truncate -s 0 $shard
  hurts zeroed-shard dd if=/dev/zero of=$shard bs=4096 seek=2 count=1 conv=notrunc status=none
  hurts flipped-manifest sed -i 's/"step": *12/"step": 13/' "$manifest"
  hurts cut-manifest truncate -s -10 "$manifest"
  hurts no-shard rm $shard
}

small_job
torn_checkpoint
echo 'faults: [{kind: full_disk, rank: 1, step: 6, seconds: 300ms}]' >full-disk.yaml
outlives full-disk '"cause":"storage"'
echo "faults: [{kind: hung_disk, rank: 2, step: 6, seconds: ${seconds}s}]" >hung-disk.yaml
outlives hung-disk '"cause":"slow storage"'
finish "storage may fail"

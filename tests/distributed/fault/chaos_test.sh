#!/bin/bash
# `trident chaos`: a schedule of faults, each of which is detected, named and outlived; and a report that says so.
#   chaos_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"

# One gang after another, each with another end.
every_kind() {
  cat >kinds.yaml <<'YAML'
faults:
  - {kind: kill, rank: 2, step: 4}
  - {kind: segfault, rank: 1, step: 6, phase: optimizer}
  - {kind: exit, rank: 3, step: 8}
  - {kind: mismatch, rank: 0, step: 10}
YAML
  survives kinds 4
  same_run whole kinds
  lost_at_most kinds 1 4
  clean kinds
}

# What is not as the schedule wants it is not passed over.
wrong_verdict() {
  local status=0
  echo 'faults: [{kind: slow, rank: 1, step: 15, seconds: 1ms}]' >unseen.yaml
  chaos unseen || status=$?
  [ $status -eq 70 ] || report "unseen: exit $status: $(tail -n 3 unseen.log)"
  grep -q 'chaos: slow@.* was not detected' unseen.log || report "unseen: not said: $(tail -n 3 unseen.log)"
  grep -q '"detected":null' runs/unseen/chaos.jsonl || report "unseen: $(cat runs/unseen/chaos.jsonl)"
  status=0
  echo 'faults: [{kind: kill, rank: 7, step: 3}]' >refused.yaml
  chaos refused || status=$?
  [ $status -eq 78 ] || report "refused: exit $status"
  grep -q 'refused.yaml:1:29: faults.rank is 7' refused.log || report "refused: $(cat refused.log)"
  [ ! -e runs/refused ] || report "refused: left a run directory"
}

small_job
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
every_kind
wrong_verdict
finish "schedules of faults are carried out"

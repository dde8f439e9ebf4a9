#!/bin/bash
# Ranks that stand still: the one that all wait for is named, none of those who wait. Scenarios of a node:
# early-finalize, sigstop-worker, livelock, skipped-collective, mismatched-collectives.
#   hangs_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"

# Others wait for it for ever, or make another call than it at its end.
early_finalize() {
  printf 'faults: [{kind: leave, rank: 2, step: 6}, {kind: leave, rank: 1, step: 9, phase: exchange}]' >early-finalize.yaml
  survives early-finalize 2
  same_run whole early-finalize
  lost_at_most early-finalize 1 2
  clean early-finalize
}

small_job
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
early_finalize
recovers sigstop-worker 2 stopped 'stop@rank=2,step=6'
recovers sigstop-in-optimizer 1 stopped 'stop@rank=1,step=7,phase=optimizer'
recovers livelock 3 hang 'livelock@rank=3,step=6'
recovers skipped-collective 1 'skipped collective' 'skip@rank=1,step=6'
grep -q 'in barrier #1 (0 bytes) of group injected' skipped-collective.log || report "the skipped call is not named"
recovers mismatched-collectives 2 'mismatched collectives' 'mismatch@rank=2,step=6'
finish "ranks may stand still"

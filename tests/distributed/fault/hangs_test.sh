#!/bin/bash
# Ranks that stand still: the one that all wait for is named, none of those who wait. Scenarios of a node:
# sigstop-worker, livelock, skipped-collective, mismatched-collectives.
#   hangs_test.sh PROGRAM JSON_KEYS
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"

small_job
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
recovers sigstop-worker 2 stopped 'stop@rank=2,step=6'
recovers sigstop-in-optimizer 1 stopped 'stop@rank=1,step=7,phase=optimizer'
recovers livelock 3 hang 'livelock@rank=3,step=6'
recovers skipped-collective 1 'skipped collective' 'skip@rank=1,step=6'
grep -q 'in barrier #1 (0 bytes) of group injected' skipped-collective.log || report "the skipped call is not named"
recovers mismatched-collectives 2 'mismatched collectives' 'mismatch@rank=2,step=6'
finish "ranks may stand still"

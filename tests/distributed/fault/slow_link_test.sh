#!/bin/bash
# A node whose link takes 200 ms for there and back and loses one frame in twenty: slow, but nobody is blamed. Scenario: netem.
#   slow_link_test.sh PROGRAM JSON_KEYS [SECONDS]
# For about that long (default 15). TRIDENT_SEED loses other frames.
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/nodes.sh
source "$here/nodes.sh"
seconds=${3:-15}

small_job
make_nodes a b
slow_cable b 100 5
hostfile 2 a b
# Every step sends messages over the link that wait for one another.
steps=$((seconds * 2))
watchdog_s=$((seconds * 12 + 60))
start_on a slow training.steps=$steps checkpoint.interval_steps=0
until grep -qs '"step":3,' runs/slow/metrics.jsonl || ! kill -0 "$watchdog" 2>/dev/null; do sleep 0.1; done
began=$SECONDS
while kill -0 "$watchdog" 2>/dev/null && [ $((SECONDS - began)) -lt "$seconds" ]; do sleep 0.2; done
kill -TERM "$(pgrep -P "$watchdog")" 2>/dev/null || true
status=0
wait "$watchdog" || status=$?
[ $status -eq 0 ] || [ $status -eq 75 ] || report "slow: exit $status: $(tail -n 20 slow.log)"
! grep -E '"event":"(verdict|restart)"' runs/slow/events.jsonl || report "slow: a link that is slow was called a fault"
last=$(numbers slow | tail -n 1 | cut -d' ' -f1)
[ "$last" -ge 3 ] || report "slow: only $last steps"
launch whole training.steps=$steps training.stop_after="$last" || report "whole: exit $?: $(tail -n 20 whole.log)"
cmp -s <(numbers whole) <(numbers slow) || report "slow: other numbers: $(diff <(numbers whole) <(numbers slow) | head -4)"
nothing_left slow a b
finish "a slow link is no fault: $last steps in $((SECONDS - began)) s"

#!/bin/bash
# A node whose link takes 200 ms for there and back and loses one frame in twenty: slow, but nobody is blamed. Scenario: netem.
#   slow_link_test.sh PROGRAM JSON_KEYS SLOW_CABLE [SECONDS]
# For about that long (default 15). TRIDENT_SEED loses other frames.
set -euo pipefail
slow_cable=$(realpath "$3")
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/nodes.sh
source "$here/nodes.sh"
seconds=${4:-15}
trap 'end_of_cable; remove_nodes; end_of_ranks; forget_shared; rm -rf "$work"' EXIT
end_of_cable() { [ -z "${cable_PID:-}" ] || kill -KILL "$cable_PID" 2>/dev/null || true; }

# slow_cable_of NAME DELAY_MS LOSS_PERCENT: in the place of the node's cable; DELAY_MS is of one direction.
slow_cable_of() {
  local said
  ip -n "$switch" link delete dev "$1"
  coproc cable { exec "$slow_cable" "$switch" "$1" "$mark-$1" link0 "$2" "$3" "${TRIDENT_SEED:-1}"; }
  read -r said <&"${cable[0]}" || skip "no tap devices here"
  [ "$said" = ready ] || skip "no tap devices here"
  ip -n "$switch" link set dev "$1" master bridge up
  ip -n "$mark-$1" address add "$(awk -v name="$1" '$2 == name { print $1 }' "$work/hosts")/24" dev link0
  ip -n "$mark-$1" link set link0 up
}

small_job
make_nodes a b
slow_cable_of b 100 5
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

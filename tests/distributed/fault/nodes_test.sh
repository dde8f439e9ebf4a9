#!/bin/bash
# Several nodes: as one, bit for bit, and when one of them, a link or a daemon fails. Scenarios: node-off, partition,
# one-way-partition, flapping-link, kill9-orted, kill9-agent, coordinator-kill9, bad-spare, forged.
#   nodes_test.sh PROGRAM JSON_KEYS [--long] [SCENARIO...]
set -euo pipefail
# shellcheck source=tests/distributed/fault/fault.sh
source "$(dirname "${BASH_SOURCE[0]}")/fault.sh"
# shellcheck source=tests/distributed/fault/nodes.sh
source "$here/nodes.sh"
# shellcheck source=tests/distributed/fault/chaos.sh
source "$here/chaos.sh"

# Faults come into the first gang, which takes 3 s for 60 steps; what the others need is on disk.
steps=(training.steps=60 checkpoint.interval_steps=5 checkpoint.async=false checkpoint.keep=1)
slowly=(--inject 'slow@rank=0,step=4,seconds=0.05')

# until FILE PATTERN: fails where that line does not come.
until_line() {
  local waited=0
  until grep -qs "$2" "$1"; do
    [ $waited -lt 600 ] || { report "$1: no $2: $(tail -n 20 "${1%/*}"/../../*.log)"; return 1; }
    sleep 0.05
    waited=$((waited + 1))
  done
}
until_step() { until_line "runs/$1/metrics.jsonl" "\"step\":$2,"; }

# ends NAME CODE
ends() {
  local status=0
  wait "$watchdog" || status=$?
  [ $status -eq "$2" ] || report "$1: exit $status: $(tail -n 30 "$1.log")"
}

# names NAME CAUSE HOST: one verdict, of that cause and host.
names() {
  [ "$(grep -c '"event":"verdict"' "runs/$1/events.jsonl")" -eq 1 ] || report "$1: not one verdict: $(cat "$1.log")"
  grep -q "\"event\":\"verdict\".*\"host\":\"$3\".*\"cause\":\"$2\"" "runs/$1/events.jsonl" ||
    report "$1: not $2 of $3: $(grep '"event":"verdict"' "runs/$1/events.jsonl")"
}

meshes() { grep '"event":"begin"' "runs/$1/epochs.jsonl" | grep -oE '"ranks":[0-9]+,"dp' | tr -dc '0-9\n' | tr '\n' ' '; }

two_nodes() {
  launch_on a two || report "two: exit $?: $(tail -n 20 two.log)"
  grep -q '"hosts":\[{"host":"a","ranks":2},{"host":"b","ranks":2}\]' runs/two/epochs.jsonl || report "two: not on both"
  same_run whole two
  nothing_left two a b
}

# from_a_peer NAME PARTS: it went on from memory, of which a peer had these parts.
from_a_peer() {
  grep -q "\"event\":\"resume\".*\"detail\":\"memory, the parts of $2 from a peer's memory\"" "runs/$1/events.jsonl" ||
    report "$1: not from a peer's memory: $(grep -E '"event":"(resume|fault)"' "runs/$1/events.jsonl")"
}

# Before the end nothing is on disk.
node_off() {
  start_on a node-off "${steps[@]}" checkpoint.interval_steps=0 --inject 'slow@rank=0,step=4,seconds=0.2'
  until_step node-off 12 || return 0
  power_off b
  ends node-off 0
  names node-off 'node lost' b
  [ "$(meshes node-off)" = "4 2 " ] || report "node-off: gangs of $(meshes node-off)"
  from_a_peer node-off 'ranks 2, 3'
  lost_at_most node-off 2 1
  same_run whole-60 node-off
  nothing_left node-off a
  power_on b
  mend_cable b
}

# The copies on the node that is left are not as they were sealed: they are refused, and what is on disk is taken.
node_off_damaged_copy() {
  start_on a damaged "${steps[@]}" checkpoint.interval_steps=10 "${slowly[@]}"
  until_step damaged 18 || return 0
  power_off b
  local copies copy size part
  copies=$(on a find /dev/shm -name 'trident.*.copy')
  [ "$(wc -l <<<"$copies")" -eq 2 ] || report "damaged: copies are $copies"
  for copy in $copies; do
    size=$(on a stat -c %s "$copy")
    for part in 4 8; do
      printf 'flip' | on a dd of="$copy" bs=1 seek=$((size * part / 10)) conv=notrunc status=none
    done
  done
  ends damaged 0
  grep -q '"cause":"damaged snapshot","detail":"step [0-9]*: rank [23] on a: .*copy, block 0: the block.s hash is' \
    runs/damaged/events.jsonl || report "damaged: not said: $(grep fault runs/damaged/events.jsonl)"
  grep -q '"event":"resume".*"detail":"runs/damaged/checkpoints/step_00000010"' runs/damaged/events.jsonl ||
    report "damaged: not from disk: $(grep '"event":"resume"' runs/damaged/events.jsonl)"
  same_run whole-60 damaged
  nothing_left damaged a
  power_on b
  mend_cable b
}

# The cut-off node ends its own ranks; when it is back, it is taken in again.
partition() {
  start_on a partition "${steps[@]}" --inject 'slow@rank=0,step=4,epoch=0,seconds=0.15'
  until_step partition 12 || return 0
  cut_cable b
  until_line runs/partition/epochs.jsonl '"epoch":2' || return 0
  [ -z "$(ranks_on b)" ] || report "partition: ranks run on both sides: $(ranks_on b)"
  mend_cable b
  ends partition 0
  names partition 'node lost' b
  [ "$(meshes partition)" = "4 2 4 " ] || report "partition: gangs of $(meshes partition): $(cat partition.log)"
  same_run whole-60 partition
  nothing_left partition a b
}

# b hears a, but is not heard.
one_way_partition() {
  start_on a one-way "${steps[@]}" --inject 'slow@rank=0,step=4,epoch=0,seconds=0.05'
  until_step one-way 12 || return 0
  cut_one_way b "$subnet.1"
  until_line runs/one-way/epochs.jsonl '"epoch":2' || return 0
  mend_one_way b "$subnet.1"
  ends one-way 0
  names one-way 'node lost' b
  same_run whole-60 one-way
  nothing_left one-way a b
}

kill9_orted() {
  start_on a kill9-orted "${steps[@]}" "${slowly[@]}"
  until_step kill9-orted 12 || return 0
  local pid
  for pid in $(jobs_on b); do [ "$(cat "/proc/$pid/comm")" != orted ] || kill -KILL "$pid"; done
  ends kill9-orted 0
  names kill9-orted 'launcher lost' b
  [ "$(meshes kill9-orted)" = "4 4 " ] || report "kill9-orted: gangs of $(meshes kill9-orted)"
  lost_at_most kill9-orted 1 1
  same_run whole-60 kill9-orted
  nothing_left kill9-orted a b
}

# Its ranks end with it. Another agent goes on with what it left in memory.
kill9_agent() {
  start_on a kill9-agent "${steps[@]}" "${slowly[@]}"
  until_step kill9-agent 12 || return 0
  kill -KILL "$(agent_of b)"
  ends kill9-agent 0
  names kill9-agent 'node lost' b
  [ "$(meshes kill9-agent)" = "4 4 " ] || report "kill9-agent: gangs of $(meshes kill9-agent)"
  lost_at_most kill9-agent 1 1
  same_run whole-60 kill9-agent
  nothing_left kill9-agent a b
}

flapping_link() {
  start_on a flapping training.steps=$((flaps * 30)) checkpoint.interval_steps=5 checkpoint.async=false \
    --inject 'slow@rank=0,step=4,epoch=0,seconds=0.05'
  until_step flapping 8 || return 0
  local i
  for ((i = 0; i < flaps; i++)); do
    cut_cable b
    sleep 1
    mend_cable b
    sleep 1
  done
  ends flapping 0
  [ "$(grep -c '"event":"verdict"' runs/flapping/events.jsonl)" -le 1 ] || report "flapping: $(grep verdict runs/flapping/events.jsonl)"
  launch whole-flapping training.steps=$((flaps * 30)) || report "whole-flapping: exit $?"
  same_run whole-flapping flapping
  nothing_left flapping a b
}

# The other two nodes agree on one of them, which starts an agent where the coordinator was: nothing is lost.
coordinator_kill9() {
  hosts_of_three
  start_on a coordinator "${steps[@]}" "${slowly[@]}"
  until_step coordinator 12 || return 0
  kill -KILL "$(pgrep -P "$watchdog")"
  ends coordinator 137
  until_step coordinator 60 || return 0
  nothing_left coordinator a b c
  names coordinator 'node lost' a
  grep -q '"event":"coordinator",.*"host":"[bc]"' runs/coordinator/epochs.jsonl || report "coordinator: nobody took over"
  same_run whole-60 coordinator
  hostfile 2 a b
}

# The coordinator's own node: what its ranks had is in the memory of the two that go on without it.
coordinator_off() {
  hosts_of_three
  start_on a off "${steps[@]}" checkpoint.interval_steps=0 --inject 'slow@rank=0,step=4,seconds=0.2'
  until_step off 12 || return 0
  power_off a
  ends off 137
  until_step off 60 || return 0
  nothing_left off b c
  names off 'node lost' a
  from_a_peer off 'ranks 0, 1'
  lost_at_most off 2 1
  same_run whole-60 off
  power_on a
  mend_cable a
  hostfile 2 a b
}

# Of three nodes, the coordinator's is cut off: it ends its ranks and gives up, the others go on.
coordinator_cut_off() {
  hosts_of_three
  start_on a cut-off "${steps[@]}" "${slowly[@]}"
  until_step cut-off 12 || return 0
  cut_cable a
  ends cut-off 69
  grep -q 'fewer than half of the nodes are left on this side' cut-off.log || report "cut-off: $(tail -n 5 cut-off.log)"
  until_step cut-off 60 || return 0
  nothing_left cut-off b c
  same_run whole-60 cut-off
  mend_cable a
  on a find /dev/shm -name 'trident*' -delete  # its snapshots stay for a start there
  hostfile 2 a b
}

# Of two nodes, one is not most.
coordinator_of_two() {
  start_on a of-two "${steps[@]}" "${slowly[@]}"
  until_step of-two 12 || return 0
  kill -KILL "$(pgrep -P "$watchdog")"
  ends of-two 137
  local waited=0
  while [ -n "$(jobs_on b)" ] && [ $waited -lt 60 ]; do sleep 0.1; waited=$((waited + 1)); done
  [ -z "$(jobs_on a)$(jobs_on b)" ] || report "of-two: processes are left"
  grep -q 'the coordinator is lost, and nobody takes its place' runs/of-two/logs/agent_b.log || report "of-two: not said"
  launch_on a of-two "${steps[@]}" || report "of-two: does not go on: $(tail -n 20 of-two.log)"
  grep -q 'resumed step [0-9]* from memory' of-two.log || report "of-two: the snapshots are not used"
  same_run whole-60 of-two
  nothing_left of-two a b
}

# A node that is lost, and of the two that wait for that the first is no good: its ranks find no data, or their program
# does not run. It is set aside, and the second is used.
bad_spare() {
  local name=bad-spare-$1 breaks=$2
  hostfile 2 a b c d
  start_on a "$name" "${steps[@]}" "${slowly[@]}"
  until_step "$name" 12 || return 0
  on c mount --bind "$breaks" "$3"
  power_off b
  ends "$name" 0
  grep -q '"cause":"node set aside".*"host":"c"\|"host":"c".*"cause":"node set aside"' "runs/$name/events.jsonl" ||
    report "$name: c is not set aside: $(grep -E '"event":"(fault|verdict)"' "runs/$name/events.jsonl")"
  [ "$(meshes "$name")" = "4 4 4 " ] || report "$name: gangs of $(meshes "$name"): $(cat "$name.log")"
  [[ $(grep '"event":"begin"' "runs/$name/epochs.jsonl" | tail -n 1) == *'"host":"d"'* ]] || report "$name: d is not used"
  same_run whole-60 "$name"
  on c umount "$3"
  nothing_left "$name" a c d
  power_on b
  mend_cable b
  hostfile 2 a b
}
bad_spare_without_data() {
  : >nothing
  bad_spare data nothing data.idx
}
bad_spare_that_crashes() {
  printf '#!/bin/sh\nkill -SEGV $$\n' >crashes
  chmod +x crashes
  bad_spare program crashes "$program"
}

# As srun would start it: once a node, without a remote shell to start agents with.
slurm_step() {
  local task=(env SLURM_JOB_ID=7 SLURM_JOBID=7 SLURM_STEP_ID=0 SLURM_NTASKS=2 SLURM_NNODES=2 SLURM_LOCALID=0
    'SLURM_STEP_TASKS_PER_NODE=1(x2)') status=0
  on b "${task[@]}" SLURM_PROCID=1 SLURM_NODEID=1 timeout 60 "$program" launch job.yaml run.name=slurm "${job[@]}" \
    --hostfile hostfile 2>slurm-b.log &
  local served=$!
  on a "${task[@]}" SLURM_PROCID=0 SLURM_NODEID=0 timeout 60 "$program" launch job.yaml run.name=slurm "${job[@]}" \
    --hostfile hostfile --remote-shell "$work/shell" --mpirun=--oversubscribe 2>slurm.log ||
    report "slurm: exit $?: $(tail -n 20 slurm.log)"
  wait $served || status=$?
  [ $status -eq 0 ] || report "slurm: the other task ends with $status: $(tail -n 20 slurm-b.log)"
  [ -z "$(find runs/slurm -name '.secret*' -o -name '.coordinator*')" ] || report "slurm: the secret is left"
  same_run whole slurm
  nothing_left slurm a b
}

# What a schedule makes happen to nodes, without the network's help. Evaluations give it time, and change nothing.
at_length=(training.steps=60 evaluation.interval_steps=1 evaluation.batches=30)
scheduled() {
  cat >scheduled.yaml <<'YAML'
faults:
  - {kind: forged_frames, node: 1, step: 8}
  - {kind: agent_kill, node: 1, step: 16}
  - {kind: one_way_link, node: 1, step: 30, seconds: 3500ms}
YAML
  start_chaos_on a scheduled "${at_length[@]}" checkpoint.interval_steps=5 checkpoint.async=false checkpoint.keep=1
  ends scheduled 0
  seen_through scheduled 3
  [ "$(grep -c '"cause":"forged frames".*3 connections' runs/scheduled/events.jsonl)" -eq 1 ] ||
    report "scheduled: the forged frames are not told: $(grep forged runs/scheduled/events.jsonl)"
  [ "$(grep -c '"event":"verdict".*"host":"b".*"cause":"node lost"' runs/scheduled/events.jsonl)" -eq 2 ] ||
    report "scheduled: $(grep '"event":"verdict"' runs/scheduled/events.jsonl)"
  same_run whole-60 scheduled
  on b find /dev/shm -name 'trident*snapshot*' -delete  # where it came back too late to be told
  nothing_left scheduled a b
}

# A link that flaps faster than a lease runs out does no harm. The log is whoever's coordinates at the end.
scheduled_takeover() {
  hosts_of_three
  cat >takeover.yaml <<'YAML'
faults:
  - {kind: cut_link, node: 2, step: 5, seconds: 800ms, times: 2}
  - {kind: coordinator_kill, step: 40}
YAML
  start_chaos_on a takeover "${at_length[@]}"
  ends takeover 137
  until_line runs/takeover/chaos.jsonl coordinator_kill || return 0
  nothing_left takeover a b c
  seen_through takeover 2
  names takeover 'node lost' a
  grep -q '"kind":"cut_link",.*"detected":null,' runs/takeover/chaos.jsonl || report "takeover: $(cat runs/takeover/chaos.jsonl)"
  same_run whole-60 takeover
  hostfile 2 a b
}

hosts_of_three() { printf 'a slots=2\nb slots=1\nc slots=1\n' >hostfile; }

flaps=3 scenarios=(two_nodes node_off node_off_damaged_copy partition one_way_partition kill9_orted kill9_agent flapping_link
  coordinator_kill9 coordinator_off coordinator_cut_off coordinator_of_two bad_spare_without_data bad_spare_that_crashes slurm_step scheduled scheduled_takeover)
shift 2
if [ "${1:-}" = --long ]; then
  flaps=150
  shift
fi
[ $# -eq 0 ] || scenarios=("$@")

small_job
make_nodes a b c d
hostfile 2 a b
launch whole || report "whole: exit $?: $(tail -n 20 whole.log)"
launch whole-60 training.steps=60 || report "whole-60: exit $?: $(tail -n 20 whole-60.log)"
for scenario in "${scenarios[@]}"; do
  "$scenario"
  ! kill "$watchdog" 2>/dev/null || wait "$watchdog" || true  # one that was given up
done
finish "nodes may fail"

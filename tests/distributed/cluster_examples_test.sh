#!/bin/bash
# What launch/hostfile and launch/kubernetes show, with this machine as every node: the commands run, save when told to
# end, and go on; the numbers in the files agree.
#   cluster_examples_test.sh PROGRAM JSON_KEYS
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
root=$(realpath "$here/../..")
# shellcheck source=tests/launch/small_job.sh
source "$here/../launch/small_job.sh"
# shellcheck source=tests/distributed/mpirun.sh
source "$here/mpirun.sh"
trap 'end_of_ranks; rm -rf "$work"' EXIT
export TRIDENT=$program

# losses NAME: of every step of a run.
losses() { grep '"loss"' "runs/$1/metrics.jsonl" | sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*/\1 \2/'; }

hostfile() {
  local status=0 waited=0 last
  local words=(parallelism.dp=2 parallelism.logical_shards=2 training.steps=1M evaluation.interval_steps=0
    checkpoint.interval_steps=0 logging.interval_steps=1000)
  timeout --kill-after=5 100 "$root/launch/hostfile/train.sh" hostfile job.yaml run.name=hosts "${words[@]}" 2>hosts.log &
  until [ "$(losses hosts 2>/dev/null | wc -l)" -ge 20 ] || [ $waited -ge 600 ]; do sleep 0.1; waited=$((waited + 1)); done
  kill -TERM "$(pgrep -P $!)" || report "train.sh: ended early"
  wait $! || status=$?
  [ $status -eq 75 ] || report "train.sh, SIGTERM: exit $status: $(tail -n 5 hosts.log)"
  last=$(losses hosts | tail -n 1 | cut -d' ' -f1)
  timeout 100 "$root/launch/hostfile/train.sh" hostfile job.yaml run.name=hosts "${words[@]}" \
    training.stop_after=$((last + 5)) 2>>hosts.log || report "train.sh: exit $?: $(tail -n 5 hosts.log)"
  grep -q "resumed step $last from" hosts.log || report "train.sh does not go on from step $last"
  "$program" train job.yaml run.name=whole "${words[@]}" parallelism.dp=1 training.stop_after=$((last + 5)) 2>whole.log
  cmp -s <(losses hosts) <(losses whole) || report "train.sh: other losses than those of a run that never stopped"
  status=0
  "$root/launch/hostfile/train.sh" missing job.yaml 2>err || status=$?
  [ "$status $(cat err)" = "66 train.sh: error: cannot read the hostfile missing" ] ||
    report "no hostfile: exit $status: $(cat err)"
}

# Prints slots, pods, launcher's words one a line.
read_mpijob() {
  python3 - "$root/launch/kubernetes/mpijob.yaml" <<'PYTHON'
import sys, yaml
spec = yaml.safe_load(open(sys.argv[1]))["spec"]
pods = {name: replica["template"]["spec"] for name, replica in spec["mpiReplicaSpecs"].items()}
for name, pod in pods.items():
    mounts = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}, f"{name}: mounts are not its volumes"
container = pods["Launcher"]["containers"][0]
print(spec["slotsPerWorker"], spec["mpiReplicaSpecs"]["Worker"]["replicas"], *container["command"], *container["args"], sep="\n")
PYTHON
}

mpijob() {
  local slots pods ranks=1 word words=()
  python3 -c 'import yaml' 2>/dev/null || { echo "no yaml for Python: launch/kubernetes is not looked at"; return; }
  read_mpijob >mpijob.txt || { report "mpijob.yaml cannot be read"; return; }
  { read -r slots; read -r pods; mapfile -t words; } <mpijob.txt
  for word in "${words[@]}"; do [[ $word != parallelism.* ]] || ranks=$((ranks * ${word#*=})); done
  [ $ranks -eq $((slots * pods)) ] || report "mpijob.yaml: $ranks ranks in $((slots * pods)) places"
  # Two ranks for sixteen; the folders are those here.
  for word in "${!words[@]}"; do
    words[word]=$(sed "s|^/trident/|$root/|; s|^/etc/mpi/|$work/|; s|^/job/|$work/|; s|=/storage/|=$work/|;
      s|dp=8|dp=1|" <<<"${words[word]}")
  done
  timeout 100 "${words[@]}" run.name=pods 2>pods.log || report "mpijob.yaml: exit $?: $(tail -n 5 pods.log)"
  grep -q 'step 4/4' pods.log || report "mpijob.yaml: did not train: $(tail -n 5 pods.log)"
}

small_job
# One machine for both; a name may come with its slots only once.
sed 's/^node01 slots=8/localhost slots=2/; /^node02 slots=8/d' "$root/launch/hostfile/hosts" >hostfile
hostfile
mpijob
left=$(leftovers)
[ -z "$left" ] || report "$left"
finish "the examples for clusters run here"

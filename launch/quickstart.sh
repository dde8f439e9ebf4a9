#!/bin/bash
# From a fresh Debian 12 to a trained model: installs what is missing, builds, trains a small Llama on the King James
# Bible on 4 ranks (dp=2 pp=2), and shows a sample of what it learned. On the way one rank is killed; the training
# recovers, and is compared with one in which nothing is killed.
#
#   launch/quickstart.sh [--steps N] [--dir DIR]
#
#   --steps N   train N steps only (default: those of configs/quickstart.yaml)
#   --dir DIR   folder for the text, tokens and run (default: the checkout)
#
# TRIDENT_BUILD_DIR  the build folder (default: build/ in the checkout)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${TRIDENT_BUILD_DIR:-$root/build}")
ranks=4 victim=2
job=$root/configs/quickstart.yaml
compared=100 # steps that are trained a second time, without the kill
dir=$root steps='' training=''
here=$PWD scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for signal in INT TERM HUP; do
  # shellcheck disable=SC2064  # the name of this signal
  trap "stopped $signal" "$signal"
done

fail() {
  printf 'quickstart: error: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --steps) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--steps needs a positive number"; steps=$2; shift ;;
    --dir) [ -n "${2:-}" ] || fail "--dir needs a folder"; dir=$2; shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option '$1'; see --help" ;;
  esac
  shift
done

# stopped SIGNAL: the training saves its state, and this script ends; Ctrl-C once more ends the training at once.
stopped() {
  local code=$((128 + $(kill -l "$1")))
  [ -n "$training" ] || exit $code
  trap '' TERM HUP
  trap 'kill -INT "$training" 2>/dev/null' INT
  kill -TERM "$training" 2>/dev/null
  while kill -0 "$training" 2>/dev/null; do wait "$training" || true; done
  printf '\nquickstart: stopped; the run is %s\n' "$(shown "$dir/$run")" >&2
  exit $code
}

# attended COMMAND...: runs it so that signals to this script reach it once, a terminal's Ctrl-C too.
attended() {
  local status=0
  set -m # a process group of its own
  "$@" </dev/null &
  training=$!
  set +m
  wait "$training" || status=$?
  training=''
  return $status
}

# quietly WHAT COMMAND...: says what it does; the command's own words appear only when it fails.
quietly() {
  printf 'quickstart: %s ...' "$1"
  shift
  "$@" >"$scratch/log" 2>&1 || { echo; tail -n 30 "$scratch/log" >&2; fail "failed: $*"; }
  echo " done"
}

# As short as a path can be for whoever has started this.
shown() { realpath --relative-base="$here" "$1"; }

# Installing is for Debian; elsewhere the build says what it lacks.
install_missing() {
  if type apt-get dpkg-query >/dev/null 2>&1; then
    "$root/launch/setup.sh" build data
  else
    echo "quickstart: no apt-get here: going on with what is installed (launch/packages.txt lists what is needed)"
  fi
}

configure() { cd "$root" && cmake -S "$root" -B "$build" ${generator[@]+"${generator[@]}"}; }

# one_rank WHY: no launcher, and a mesh of one rank instead of the job's.
one_rank() {
  echo "quickstart: $1: training on one rank instead of $ranks, and nothing is killed"
  train=("$trident" train "$job" parallelism.dp=1 parallelism.pp=1)
}

# Sets `train`, the words that train the job on all ranks.
choose_launcher() {
  [[ $("$trident" --version) != *"mpi no"* ]] ||
    { one_rank "the program was built without MPI (libopenmpi-dev)"; return; }
  [[ $(mpirun --version 2>&1) == *"Open MPI"* ]] || { one_rank "Open MPI's mpirun is missing (openmpi-bin)"; return; }
  train=("$trident" launch "$job")
  if [ "$(id -u)" -eq 0 ]; then
    echo "quickstart: running as root, which mpirun refuses: setting OMPI_ALLOW_RUN_AS_ROOT for this run"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  # mpirun refuses more ranks than it counts cores: ask it, since it knows what a batch system leaves.
  mpirun -n "$ranks" --bind-to none true >/dev/null 2>&1 && return
  local words
  if words=$(mpirun -n "$ranks" --bind-to none --oversubscribe true 2>&1); then
    echo "quickstart: fewer than $ranks cores: the ranks share them (mpirun --oversubscribe)"
    train+=(--mpirun=--oversubscribe)
  else
    printf '%s\n' "$words" >&2
    one_rank "mpirun cannot start $ranks processes (above)"
  fi
}

# numbers RUN: step, loss and gradient norm of every step, as the last attempt computed them, in all digits.
numbers() {
  sed -nE 's/.*"step":([0-9]+),"loss":([^,]+),"grad_norm":([^,]+),.*/\1 \2 \3/p' "$1/metrics.jsonl" |
    awk '{ last[$1] = $0 } END { for (step in last) print last[step] }' | sort -n
}

# Trains the first steps, with a kill among them, and once more without: equal states go on equally.
train_with_a_kill() {
  local upto=$((steps < compared ? steps : compared)) other=$scratch/quickstart at verdict recovery
  at=$(((3 * upto + 4) / 5))
  echo "quickstart: training steps 1 to $upto; at step $at rank $victim is killed (SIGKILL, as kill -9 sends it)"
  attended "${train[@]}" "${words[@]}" training.stop_after="$upto" --inject "kill@rank=$victim,step=$at"
  verdict=$(detail verdict) recovery=$(detail restart)
  [ -n "$recovery" ] || fail "no rank was killed: $(shown "$run/events.jsonl") tells of no restart"

  mkdir "$other"
  cp "$run/gemm.json" "$other" # the same matrix libraries, wherever the machine's own choice is kept
  echo
  quietly "training steps 1 to $upto once more, without a kill, to compare" \
    attended "${train[@]}" "${words[@]}" training.stop_after="$upto" run.dir="$scratch"
  compare "$other" "$upto"
  printf 'quickstart: %s\n' "what happened: ${verdict%%;*}" "what followed: $recovery" \
    "compared with the one without a kill: loss and gradient norm of steps 1 to $upto in all digits, and all" \
    "  $tensors tensors, their weights and moments, after step $upto. Everything is equal, and later steps follow from it:" \
    "  the loss curve is bit for bit the one of a run without the kill"
}

# detail EVENT: the words of the run's last event of that kind.
detail() { sed -nE 's/.*"event":"'"$1"'".*"detail":"([^"]*)".*/\1/p' "$run/events.jsonl" | tail -n 1; }

# compare RUN STEPS: ends this script where that run's first steps are not those of ours. Sets `tensors`.
compare() {
  numbers "$run" >"$scratch/ours"
  numbers "$1" >"$scratch/other"
  [ "$(wc -l <"$scratch/ours")" -eq "$2" ] || fail "$run/metrics.jsonl lacks some of steps 1 to $2"
  diff "$scratch/ours" "$scratch/other" >"$scratch/log" ||
    { head -n 8 "$scratch/log" >&2; fail "losses or norms are not those of a run without the kill (lines above)"; }
  "$trident" checkpoint diff "$run" "$1" >"$scratch/log" ||
    { cat "$scratch/log" >&2; fail "the state after step $2 is not that of a run without the kill (above)"; }
  tensors=$(sed -nE 's/^all ([0-9]+) tensors are equal$/\1/p' "$scratch/log")
}

install_missing
generator=(-G Ninja)
[ ! -f "$build/CMakeCache.txt" ] || generator=()
quietly "configuring $build" configure
quietly "building the program (minutes the first time)" cmake --build "$build" --target trident --parallel "$(nproc)"
trident=$build/trident

mkdir -p "$dir"
cd "$dir"
text=data/kjv.txt
"$root/launch/prepare_kjv.sh" "$text"
if [ ! -f data/kjv.idx ] || [ ! -f data/kjv-val.idx ] || [ "$text" -nt data/kjv.idx ]; then
  "$trident" tokenize "$text" --tokenizer byte --validation-fraction 0.05 --out data/kjv
fi

# Each quick start trains anew: the folder of an earlier one moves aside.
run=runs/quickstart
if [ -e "$run" ]; then
  earlier=$run-$(date -u -r "$run" +%Y%m%dT%H%M%SZ)
  mv "$run" "$earlier"
  echo "quickstart: the earlier run is now $(shown "$earlier")"
fi
choose_launcher
[ -n "$steps" ] || steps=$("$trident" config show "$job" | sed -n 's/^  steps: //p')
words=(training.steps="$steps")
if [ "${train[1]}" = launch ]; then
  train_with_a_kill
  if [ "$steps" -gt "$compared" ]; then
    printf '\nquickstart: going on to step %s\n' "$steps"
    attended "${train[@]}" "${words[@]}"
  fi
else
  attended "${train[@]}" "${words[@]}"
fi

echo
echo "quickstart: on the text that it has not seen:"
"$trident" eval "$run" --data data/kjv-val --batch-size 12
echo
echo "quickstart: what the model writes after \"In the beginning\":"
"$trident" generate "$run" --prompt "In the beginning" --tokens 400 --temperature 0.8 --seed 1
echo
echo "quickstart: report: $(realpath "$run")/report.html"
printf '%s\n' "quickstart: next, for example:" \
  "  $(shown "$trident") generate $(shown "$run") --prompt \"And it came to pass\"" \
  "  $(shown "$trident") checkpoint list $(shown "$run")" \
  "  or your own text: README.md, \"Train your own\""

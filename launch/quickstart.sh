#!/bin/bash
# From a fresh Debian 12 to a trained model: installs what is missing, builds, trains a small Llama on the
# King James Bible on 4 ranks (dp=2 pp=2), and shows a sample of what it learned.
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
ranks=4
dir=$root steps=

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

# quietly WHAT COMMAND...: says what it does; the command's own words appear only when it fails.
quietly() {
  local log
  printf 'quickstart: %s ...' "$1"
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 || { echo; tail -n 30 "$log" >&2; rm -f "$log"; fail "failed: $*"; }
  rm -f "$log"
  echo " done"
}

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
  echo "quickstart: $1: training on one rank instead of $ranks"
  launcher=() overrides+=(parallelism.dp=1 parallelism.pp=1)
}

# Sets `launcher`, the words before the program that start it on all ranks.
choose_launcher() {
  [[ $("$trident" --version) != *"mpi no"* ]] || { one_rank "the program was built without MPI (libopenmpi-dev)"; return; }
  [[ $(mpirun --version 2>&1) == *"Open MPI"* ]] || { one_rank "Open MPI's mpirun is missing (openmpi-bin)"; return; }
  # On one machine, shared memory is the whole network. The kernel's copy between processes is not used: containers
  # often forbid it. Ranks are not bound, so that other programs on the same cores slow down all of them alike.
  launcher=(mpirun -n "$ranks" --bind-to none --mca pml ob1 --mca btl "self,vader"
    --mca btl_vader_single_copy_mechanism none)
  if [ "$(id -u)" -eq 0 ]; then
    echo "quickstart: running as root, which mpirun refuses: setting OMPI_ALLOW_RUN_AS_ROOT for this run"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  # mpirun refuses more ranks than it counts cores: ask it, since it knows what binding or a batch system leaves.
  "${launcher[@]}" true >/dev/null 2>&1 && return
  local words
  launcher+=(--oversubscribe)
  if words=$("${launcher[@]}" true 2>&1); then
    echo "quickstart: fewer than $ranks cores: the ranks share them (mpirun --oversubscribe)"
  else
    printf '%s\n' "$words" >&2
    one_rank "mpirun cannot start $ranks processes (above)"
  fi
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
  echo "quickstart: the earlier run is now $dir/$earlier"
fi
overrides=()
[ -z "$steps" ] || overrides+=("training.steps=$steps")
choose_launcher
# Not this script's input: mpirun would read it away.
${launcher[@]+"${launcher[@]}"} "$trident" train "$root/configs/quickstart.yaml" ${overrides[@]+"${overrides[@]}"} </dev/null

echo
echo "quickstart: on the text that it has not seen:"
"$trident" eval "$run" --data data/kjv-val --batch-size 12
echo
echo "quickstart: what the model writes after \"In the beginning\":"
"$trident" generate "$run" --prompt "In the beginning" --tokens 400 --temperature 0.8 --seed 1
echo
echo "quickstart: report: $(realpath "$run")/report.html"

#!/bin/bash
# Builds the libFuzzer targets with clang and the sanitizers and runs each for a while; stops at the first finding.
#
#   tests/fuzz.sh [--seconds N] [NAME]...     default: 300 seconds each, all of them
#
# What a run discovers is kept below build-fuzz/corpus/ and taken up by the next run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build-fuzz
seconds=300
names=()

fail() {
  printf 'tests/fuzz.sh: error: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --seconds) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--seconds needs a positive number"; seconds=$2; shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) fail "unknown option '$1'; see --help" ;;
    *) names+=("$1") ;;
  esac
  shift
done

"$root/launch/setup.sh" build fuzz
cd "$root"
cmake --preset fuzz
cmake --build "$build" --parallel "$(nproc)"
if [ ${#names[@]} -eq 0 ]; then
  mapfile -t names < <(find "$build/fuzz" -maxdepth 1 -type f -executable -printf '%f\n' 2>/dev/null | sort)
fi
[ ${#names[@]} -gt 0 ] || fail "there are no fuzz targets"

for name in "${names[@]}"; do
  [ -x "$build/fuzz/$name" ] || fail "no fuzz target '$name'"
  corpus=$build/corpus/$name
  mkdir -p "$corpus"
  seeds=()
  [ ! -d "tests/fuzz/seeds/$name" ] || seeds=("tests/fuzz/seeds/$name")
  echo "== $name, $seconds s"
  (cd "$build" && "fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -verbosity=1 "$corpus" ${seeds[@]+"${seeds[@]/#/$root/}"} 2>"$name.log") || {
    tail -n 40 "$build/$name.log" >&2
    fail "$name found something; the input is named above, in $build"
  }
  grep -E 'number_of_executed_units|peak_rss' "$build/$name.log"
done

#!/bin/bash
# Builds Trident and runs its checks and whole test suite; installs what is missing first.
#
#   tests/run.sh [--sanitize address|thread] [--filter REGEX] [--long] [--no-lint]
#
#   --sanitize S   the suite in a sanitizer build instead (address: with undefined behaviour), without the lint checks
#   --filter R     only the tests whose name matches R
#   --long         also the tests that take minutes
#   --no-lint      leave out format, static analysis and shellcheck
#
# TRIDENT_BUILD_DIR  the build folder (default: build/ in the checkout); sanitizer builds go below it
# CI=true            also both sanitizer suites, all within TRIDENT_CI_SECONDS (default 4500)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${TRIDENT_BUILD_DIR:-$root/build}")
sanitizer='' filter='' long=no lint=yes

fail() {
  printf 'tests/run.sh: error: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --sanitize | --filter) [ $# -gt 1 ] || fail "$1 needs a value" ;;&
    --sanitize) sanitizer=$2; shift ;;
    --filter) filter=$2; shift ;;
    --long) long=yes ;;
    --no-lint) lint=no ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option '$1'; see --help" ;;
  esac
  shift
done
case $sanitizer in
  '') preset=release folder=$build ;;
  address) preset=asan folder=$build/sanitize-address ;;
  thread) preset=tsan folder=$build/sanitize-thread ;;
  *) fail "--sanitize takes address or thread, not '$sanitizer'" ;;
esac

failed=()

# stage NAME COMMAND...: runs it, says how long it took, remembers a failure.
stage() {
  local name=$1 start=$SECONDS result=ok
  shift
  echo "== $name"
  "$@" || { result=FAILED; failed+=("$name"); }
  echo "== $name: $result, $((SECONDS - start)) s"
  [ $result = ok ]
}

# Address-space randomisation of recent kernels is too wide for GCC 12's sanitizer runtimes.
fixed_addresses() {
  if [ -n "$sanitizer" ] && setarch -R true 2>/dev/null; then setarch -R "$@"; else "$@"; fi
}

configure() { (cd "$root" && cmake --preset "$preset" -B "$folder" >"$folder/configure.log" 2>&1) ||
  { cat "$folder/configure.log" >&2; return 1; } }

# logged NAME COMMAND...: runs it; in CI also keeps what it says in NAME.log for the recap.
logged() {
  if [ "${CI:-false}" = true ]; then "${@:2}" 2>&1 | tee "$folder/$1.log"; else "${@:2}"; fi
}

compile() { fixed_addresses cmake --build "$folder" --parallel "$(nproc)"; }

# What the program is compared with; nothing else fails without it.
interop_setup() { "$root/launch/setup.sh" interop && "$root/tests/interop/setup_venv.sh"; }

# Every suite in one process of CTest; its closing lines are the result.
suite() {
  local options=(--test-dir "$folder" --output-on-failure --no-tests=error --timeout 300 --parallel 2)
  [ -z "$filter" ] || options+=(-R "$filter")
  [ $long = yes ] || options+=(-LE '^long$')
  logged suite fixed_addresses ctest "${options[@]}"
}

# What failed according to a log, short, for the end of the output.
recap() {
  local failures='\*\*\*(Failed|Timeout|Exception|Not Run)|^FAILED: | error: |^lint: .* FAILED'
  [ -e "$1" ] && grep -qE "$failures" "$1" || return 0
  echo "== recap of ${1#"$build/"}"
  grep -A 25 -E "$failures" "$1" | sed -E 's/\.{9,}/ … /' | cut -c1-300 | head -200 || true
}

# A sanitizer suite inside what is left of the CI's time.
sanitized_suite() {
  local left=$((${TRIDENT_CI_SECONDS:-4500} - SECONDS))
  [ $left -gt 0 ] || { echo "no time left for it (TRIDENT_CI_SECONDS)"; return 1; }
  timeout "$left" "${BASH_SOURCE[0]}" --sanitize "$1"
}

# Open MPI refuses root and more ranks than cores unless told; tests need both.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
# LeakSanitizer of GCC 12 may crash on the dynamic thread-local storage of libraries' threads that have ended.
export ASAN_OPTIONS=${ASAN_OPTIONS:-intercept_tls_get_addr=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-second_deadlock_stack=1 suppressions=$root/tests/tsan.supp}
[ $long = no ] || export TRIDENT_LONG_TESTS=1

"$root/launch/setup.sh" build data tests
interop_setup || echo "tests/run.sh: tests of tests/interop that lack something will be skipped"
mkdir -p "$folder"
rm -f "$folder"/{,sanitize-*/}{build,lint,suite}.log
stage "configure ($preset)" configure || exit 1
stage "build ($preset)" logged build compile || exit 1

if [ -z "$sanitizer" ]; then
  [ $lint = no ] || stage "lint" logged lint "$root/tests/lint.sh" "$folder" || true
  if [ "${CI:-false}" = true ]; then
    stage "suite under the address and undefined-behaviour sanitizers" sanitized_suite address || true
    stage "suite under the thread sanitizer" sanitized_suite thread || true
  fi
fi

echo "== tests ($preset)"
suite || failed+=("tests ($preset)")
[ ${#failed[@]} -eq 0 ] || {
  if [ "${CI:-false}" = true ] && [ -z "$sanitizer" ]; then
    for log in "$build"/{,sanitize-*/}{build,lint,suite}.log; do recap "$log"; done
  fi
  printf 'tests/run.sh: failed: %s\n' "${failed[@]}" >&2
  exit 1
}

#!/bin/bash
# Runs tests/parallel/comm/mpi_ranks.cpp under mpirun. Exit 77 (skipped) without mpirun.
#   mpirun_test.sh PROGRAM RANKS suite|hang|mismatch [RANKS_PER_NODE]
set -euo pipefail
program=$1 ranks=$2 mode=$3
[ -z "${4:-}" ] || export TRIDENT_TEST_RANKS_PER_NODE=$4
command -v mpirun >/dev/null || { echo "no mpirun: skipped"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_base_warn_component_unused=0
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,vader,self OMPI_MCA_btl_vader_single_copy_mechanism=none

output=$(mktemp)
export TRIDENT_TEST_RUN=$output
trap 'rm -f "$output"' EXIT
fail() { cat "$output"; echo "mpirun_test: $1"; exit 1; }

run() {
  local status=0
  timeout --kill-after=5 120 mpirun --oversubscribe -n "$ranks" "$program" "$@" >"$output" 2>&1 || status=$?
  return $status
}

segments() { find /dev/shm -name 'trident*' 2>/dev/null | wc -l; }
before=$(segments)

case $mode in
  suite)
    run || fail "the suite failed on $ranks ranks"
    grep -q 'PASSED' "$output" || fail "no test ran"
    ;;
  hang)
    status=0; run hang || status=$?
    [ $status -eq 69 ] || fail "exit code $status, expected 69"
    grep -q 'group dp (rank 0 of [0-9]*): all_reduce #2 of 8000 bytes did not finish in 1.0 s' "$output" ||
      fail "the error does not name group, call and size"
    grep -Eq '(not arrived|from or to): rank 1 on ' "$output" || fail "the error does not name the missing rank"
    ;;
  mismatch)
    export TRIDENT_TEST_TRACE=1
    status=0; run mismatch || status=$?
    [ $status -eq 70 ] || fail "exit code $status, expected 70"
    grep -q 'ranks diverge at call #2' "$output" || fail "the error does not say where the ranks diverge"
    for call in '#2 barrier' '#2 all_reduce(sum) 16 fp32'; do
      grep -qF "$call" "$output" || fail "the trace lacks $call"
    done
    ;;
esac

# Only this run's own processes: those that still carry its mark in their environment.
sleep 0.2
left=0
for environ in $(grep -lsazxF "TRIDENT_TEST_RUN=$output" /proc/[0-9]*/environ || true); do
  [ "$(readlink "${environ%/environ}/exe")" != "$(realpath "$program")" ] || left=$((left + 1))
done
[ "$left" -eq 0 ] || fail "$left processes are left"
[ "$(segments)" -eq "$before" ] || fail "shared memory is left"
echo "mpirun_test: $mode on $ranks ranks ok"

#!/bin/bash
# Runs tests/parallel/comm/mpi_ranks.cpp, or another program with a suite, under mpirun. Exit 77 (skipped) without
# mpirun.
#   mpirun_test.sh PROGRAM RANKS suite|hang|mismatch [RANKS_PER_NODE]
set -euo pipefail
program=$1 ranks=$2 mode=$3
[ -z "${4:-}" ] || export TRIDENT_TEST_RANKS_PER_NODE=$4
# shellcheck source=tests/distributed/mpirun.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../distributed/mpirun.sh"
trap end_of_ranks EXIT

output=$TRIDENT_TEST_RUN/output
fail() { cat "$output"; echo "mpirun_test: $1"; exit 1; }
run() { mpirun_on "$ranks" "$program" "$@" >"$output" 2>&1; }

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

left=$(leftovers)
[ -z "$left" ] || fail "$left"
echo "mpirun_test: $mode on $ranks ranks ok"

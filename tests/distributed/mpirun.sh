# shellcheck shell=bash
# What tests under mpirun share; they set `program`, the program that ranks run, and source it. Exit 77 (skipped) without
# mpirun. Every process that a test starts carries the test's mark in its environment.
: "${program:?}"
command -v mpirun >/dev/null || { echo "no mpirun: skipped"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_base_warn_component_unused=0
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,vader,self OMPI_MCA_btl_vader_single_copy_mechanism=none

TRIDENT_TEST_RUN=$(mktemp -d)
export TRIDENT_TEST_RUN

# mpirun_on RANKS ARGUMENTS...: mpirun's exit code, within the watchdog's time.
mpirun_on() {
  local ranks=$1
  shift
  timeout --kill-after=5 120 mpirun --oversubscribe -n "$ranks" "$@"
}

# The processes of this test that run the program, on whatever rank.
our_ranks() {
  local environ
  for environ in $(grep -lsazxF "TRIDENT_TEST_RUN=$TRIDENT_TEST_RUN" /proc/[0-9]*/environ || true); do
    environ=${environ%/environ}
    [ "$(readlink "$environ/exe")" != "$(realpath "$program")" ] || echo "${environ#/proc/}"
  done
}

# pid_of_rank RANK
pid_of_rank() {
  local pid
  for pid in $(our_ranks); do
    ! grep -qsazxF "OMPI_COMM_WORLD_RANK=$1" "/proc/$pid/environ" || echo "$pid"
  done
}

segments() { find /dev/shm -name 'trident*' 2>/dev/null | wc -l; }
segments_before=$(segments)

# leftovers: what this test left behind, in words; empty where there is nothing. Ranks that end have a moment to do so.
leftovers() {
  local waited=0
  while [ -n "$(our_ranks)" ] && [ $waited -lt 50 ]; do sleep 0.1; waited=$((waited + 1)); done
  [ -z "$(our_ranks)" ] || echo "$(our_ranks | wc -l) processes are left"
  [ "$(segments)" -eq "$segments_before" ] || echo "shared memory is left"
}

# To be called when the test ends, however it does: stopped processes too are gone afterwards.
end_of_ranks() {
  local pid
  for pid in $(our_ranks); do kill -KILL "$pid" 2>/dev/null || true; done
  rm -rf "$TRIDENT_TEST_RUN"
}

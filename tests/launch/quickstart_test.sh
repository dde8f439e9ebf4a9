#!/bin/bash
# launch/quickstart.sh with a program that is built already, on few steps: one rank is killed and the run compared with
# one in which none is; a difference is found; without mpirun one rank trains; a signal leaves nothing running. Exit 77:
# the text's package is missing.
#   quickstart_test.sh PROGRAM [mpirun]
set -euo pipefail
real=$(realpath "$1")
quickstart=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../launch" && pwd)/quickstart.sh
command -v bible >/dev/null || { echo "bible-kjv is not installed"; exit 77; }
work=$(mktemp -d)
run=$work/dir/runs/quickstart
trap 'rm -rf "$work"' EXIT
failures=0
shared_before=$(find /dev/shm -name 'trident.*' | sort)

report() {
  printf 'FAILED: %s\n' "$*"
  tail -n 25 "$work/out"
  failures=$((failures + 1))
}

# says PATTERN: a line of the last start's output.
says() { grep -qE -e "$1" "$work/out" || report "no line like '$1'"; }

# Nothing is installed or built here, and what is shown of the model afterwards is not looked at.
mkdir -p "$work/build" "$work/bin" "$work/tmp"
printf '#!/bin/bash\n' >"$work/bin/cmake"
# shellcheck disable=SC2016  # the pretended program expands
printf '#!/bin/bash\n[ $# -lt 3 ] || printf "%%s installed\\n" "${@:3}"\n' >"$work/bin/dpkg-query"
cat >"$work/build/trident" <<SCRIPT
#!/bin/bash
[[ -z \${WRONG:-} || "\$*" != *run.dir=* ]] || set -- "\$@" "\$WRONG"
case \$1 in
  eval | generate) echo "\$1 \$2" ;;
  *) exec "$real" "\$@" ;;
esac
SCRIPT
chmod +x "$work/build/trident" "$work"/bin/*

# start WORDS...: as a shell in a terminal starts it, but for the terminal.
start() {
  env --default-signal=INT TRIDENT_BUILD_DIR="$work/build" PATH="$work/bin:$PATH" TMPDIR="$work/tmp" WRONG="${wrong:-}" \
    timeout --kill-after=5 120 "$quickstart" --dir "$work/dir" "$@" >"$work/out" 2>&1
}

# clean WHAT: no process and no file of a start is left beside the run.
clean() {
  local waited=0
  while pgrep -f "$work|$quickstart" >/dev/null && [ $waited -lt 50 ]; do sleep 0.1; waited=$((waited + 1)); done
  ! pgrep -af "$work|$quickstart" || report "$1: processes are left"
  [ -z "$(ls "$work/tmp")" ] || report "$1: left $(ls "$work/tmp")"
  [ "$(find /dev/shm -name 'trident.*' | sort)" = "$shared_before" ] || report "$1: left $(ls /dev/shm)"
}

# attempts: of a run's rows of steps.
attempts() { grep '"loss"' "$run/metrics.jsonl" | grep -oE '"attempt":[0-9]+' | sort -u | wc -l; }

without_mpirun() {
  printf '#!/bin/bash\nexit 1\n' >"$work/bin/mpirun"
  chmod +x "$work/bin/mpirun"
  start --steps 2 || report "without mpirun: exit $?"
  rm "$work/bin/mpirun"
  says 'training on one rank instead of 4, and nothing is killed'
  says "^quickstart: report: $run/report.html"
  clean "without mpirun"
}

killed_and_compared() {
  start --steps 4 || report "four ranks: exit $?"
  says 'at step 3 rank 2 is killed'
  says '^quickstart: what happened: rank 2 \(pid [0-9]+ on .*\) was killed by signal 9 .* of step 3'
  says '^quickstart: what followed: went on from step [12];'
  says 'compared with .*: loss and gradient norm of steps 1 to 4 in all digits'
  says '39 tensors, .* after step 4'
  says 'bit for bit the one of a run without the kill'
  [ "$(attempts)" -eq 2 ] || report "four ranks: $(attempts) attempts"
  clean "four ranks"
}

difference_is_found() {
  local status=0
  wrong=optimizer.lr=1e-3 start --steps 3 || status=$?
  [ $status -eq 1 ] || report "other losses: exit $status"
  says '^quickstart: error: losses or norms are not those of a run without the kill'
  ! grep -q 'bit for bit' "$work/out" || report "other losses pass"
  clean "other losses"
}

# Once: a terminal's Ctrl-C reaches the script, and the training through it.
interrupted() {
  local status=0 waited=0 starter
  rm -rf "$run"
  start --steps 200 &
  starter=$!
  until grep -qs '"step":2,' "$run/metrics.jsonl" || [ $waited -gt 600 ]; do sleep 0.1; waited=$((waited + 1)); done
  kill -INT "$(pgrep -P "$(pgrep -f "^timeout .*$work/dir")")" || report "Ctrl-C: no script to interrupt"
  wait "$starter" || status=$?
  [ $status -eq 130 ] || report "Ctrl-C: exit $status"
  says '^quickstart: stopped; the run is '
  [ -n "$(find "$run/checkpoints" -name MANIFEST.json)" ] || report "Ctrl-C: nothing is saved"
  clean "Ctrl-C"
}

without_mpirun
if [ "${2:-}" = mpirun ] && command -v mpirun >/dev/null; then
  killed_and_compared
  difference_is_found
  interrupted
fi
[ $failures -eq 0 ] || { echo "$failures checks failed"; exit 1; }
echo "the quick start kills, compares and cleans up"

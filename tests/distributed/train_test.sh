#!/bin/bash
# `trident train` under mpirun: the same training as on one rank, one message for a mistake, an end on demand, and an end
# when a rank dies or hangs. Exit 77 (skipped) without mpirun.
#   train_test.sh PROGRAM JSON_KEYS WEIGHTS_APART
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
weights_apart=$(realpath "$3")
# shellcheck source=tests/launch/small_job.sh
source "$here/../launch/small_job.sh"
# shellcheck source=tests/launch/runs.sh
source "$here/../launch/runs.sh"
# shellcheck source=tests/distributed/mpirun.sh
source "$here/mpirun.sh"
trap 'end_of_ranks; rm -rf "$work"' EXIT

mesh() { echo "parallelism.dp=$1 parallelism.tp=$2 parallelism.pp=$3"; }

# train RANKS NAME OVERRIDES...: the small job as the run of that name; its exit code.
train() {
  local ranks=$1 name=$2
  shift 2
  mpirun_on "$ranks" "$program" train job.yaml run.name="$name" "$@" 2>"$name.log"
}

# trains RANKS NAME OVERRIDES...: to its end.
trains() { train "$@" || report "train $*: exit $?: $(cat "$2.log")"; }

# says COUNT PATTERN NAME: so many lines of a run's stderr match.
says() {
  [ "$(grep -cE -e "$2" "$3.log")" -eq "$1" ] || report "$3: not $1 times '$2': $(cat "$3.log")"
}

# losses NAME: step by step loss, gradient norm and validation loss, every digit.
losses() { grep -oE '"(loss|grad_norm|val_loss)":[^,}]*' "runs/$1/metrics.jsonl" | cut -d: -f2; }

# Numbers and weights within 1e-10, relatively.
same_in_fp64() {
  local apart
  [ "$(losses "$1" | wc -l)" -eq 10 ] || report "$1: not 4 losses, 4 norms and 2 validation losses"
  paste <(losses "$1") <(losses "$2") |
    awk '{ d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-10 * $1) exit 1 }' ||
    report "$1 and $2: other numbers: $(paste <(losses "$1") <(losses "$2"))"
  apart=$("$weights_apart" "$(weights "$1")" "$(weights "$2")") || report "$1 and $2: other tensors"
  awk -v apart="$apart" 'BEGIN { exit !(apart <= 1e-10) }' || report "$1 and $2: weights $apart apart"
}

samples() { grep -o '"event":"sample".*"detail":"[^"]*"' "runs/$1/events.jsonl" | grep -o '"detail":.*'; }

layouts() {
  local job=(precision.compute=fp64 logging.sample_interval_steps=2)
  trains 1 serial "${job[@]}"
  # shellcheck disable=SC2046  # words
  trains 8 cube "${job[@]}" $(mesh 2 2 2)
  same_in_fp64 serial cube
  says 4 '^step [1-4]/4 \| loss ' cube
  says 2 '^eval [24] \| val loss ' cube
  says 1 ' r000 checkpoint runs/cube/checkpoints/step_00000004 in ' cube
  # shellcheck disable=SC2046
  trains 4 flat "${job[@]}" $(mesh 1 2 2) parallelism.schedule=zb-h1
  same_in_fp64 serial flat
  [ "$(samples serial | wc -l)" -eq 2 ] || report "serial: not 2 samples"
  for name in cube flat; do
    cmp -s <(samples serial) <(samples "$name") || report "$name: other samples than serial's"
  done
  [ "$(find runs/cube/logs -name 'rank_*.log' | wc -l)" -eq 8 ] || report "cube: not 8 logs"
  # Whoever reads a run's weights need not know of its layout.
  for name in serial cube; do
    "$program" eval "runs/$name" --data data --batches 1 | sed 's/ in [0-9.]* s$//' >"$name.eval" || report "eval $name"
  done
  cmp -s serial.eval cube.eval || report "eval: $(cat serial.eval), and of cube $(cat cube.eval)"
}

bits() {
  local job=(parallelism.logical_shards=4) dp
  trains 1 dp1 "${job[@]}"
  for dp in 2 3 4; do
    trains $dp dp$dp "${job[@]}" parallelism.dp=auto
    same_bits dp1 dp$dp
  done
  trains 2 pp2 "${job[@]}" parallelism.pp=2
  same_bits dp1 pp2
}

# refused STATUS PATTERN NAME OVERRIDES...: on three ranks one of which says why.
refused() {
  local status=$1 pattern=$2 name=$3 found=0
  shift 3
  train 3 "$name" "$@" || found=$?
  [ $found -eq "$status" ] || report "$name: exit $found, expected $status"
  says 1 "$pattern" "$name"
  says 1 ' E r[0-9]+ ' "$name"
  [ ! -e "runs/$name" ] || report "$name: left a run directory"
}

mistakes() {
  local start='start 2: mpirun -n 2 trident train job\.yaml'
  refused 78 'dp·tp·pp = 1·2·1 = 2, but 3 ranks were started' wrong-number parallelism.tp=2 parallelism.dp=1
  says 1 "$start run\.name=wrong-number parallelism\.tp=2 parallelism\.dp=1; or, for 3 ranks, parallelism\.dp=3 " wrong-number
  refused 66 'nowhere\.idx: no such file' no-data parallelism.dp=3 data.train=nowhere
  refused 78 'the tokenizer has 256 tokens' small-vocabulary parallelism.dp=3 model.vocab_size=100
  # A first rank that is late is still the one who says it.
  cat >late.sh <<'SH'
#!/bin/bash
[ "$OMPI_COMM_WORLD_RANK" != 0 ] || sleep 0.5
exec "$@"
SH
  chmod +x late.sh
  local found=0
  mpirun_on 3 ./late.sh "$program" train job.yaml parallelism.dp=2 2>late.log || found=$?
  [ $found -eq 78 ] || report "a late first rank: exit $found"
  says 1 'dp·tp·pp = 2·1·1 = 2, but 3 ranks were started' late
}

# A training that does not end by itself; `runner` is the process to wait for.
start_long() {
  local ranks=$1 name=$2
  shift 2
  train "$ranks" "$name" training.steps=1000000 evaluation.interval_steps=0 "$@" &
  runner=$!
  until_step "$name" 3 || true
}

# ended STATUS NAME: the long training ends with this exit code and leaves nothing.
ended() {
  local status=0
  wait "$runner" || status=$?
  [ $status -eq "$1" ] || report "$2: exit $status, expected $1: $(tail -n 20 "$2.log")"
  left=$(leftovers)
  [ -z "$left" ] || report "$2: $left"
}

stops() {
  local name pid steps
  for name in to-mpirun to-one-rank; do
    # shellcheck disable=SC2046
    start_long 8 $name $(mesh 2 2 2)
    pid=$(pid_of_rank 5)
    [ $name = to-one-rank ] || pid=$(ps -o ppid= -p "$pid" | tr -d ' ')
    kill -s USR1 "$pid"
    ended 75 $name
    steps=$(grep -c '"loss"' runs/$name/metrics.jsonl)
    [ "$(cat runs/$name/checkpoints/latest)" = "$(printf 'step_%08d' "$steps")" ] ||
      report "$name: latest is $(cat runs/$name/checkpoints/latest) after $steps steps"
    "$program" eval runs/$name --data data --batches 1 >/dev/null || report "$name: the weights cannot be read"
  done
}

deaths() {
  # shellcheck disable=SC2046
  start_long 8 killed $(mesh 2 2 2) checkpoint.interval_steps=1 checkpoint.keep=2
  kill -s KILL "$(pid_of_rank 5)"
  ended 137 killed
  goes_on_elsewhere
}

# What a killed gang left is whole, and goes on under another layout with no step left out or done twice.
goes_on_elsewhere() {
  local folder saved=0
  for folder in runs/killed/checkpoints/step_*; do
    "$program" checkpoint verify "$folder" >/dev/null || report "killed: $folder is not intact"
    saved=$((10#${folder##*_}))
  done
  [ $saved -gt 0 ] || report "killed: nothing was saved"
  # shellcheck disable=SC2046
  trains 4 killed training.steps=1000000 training.stop_after=$((saved + 3)) evaluation.interval_steps=0 $(mesh 1 2 2)
  says 1 "resumed step $saved from .*step_" killed
  [ "$(grep '"attempt":2' runs/killed/metrics.jsonl | grep -oE '"step":[0-9]+' | tr '\n' ' ')" = \
    "\"step\":$((saved + 1)) \"step\":$((saved + 2)) \"step\":$((saved + 3)) " ] || report "killed: went on with other steps"
  [ -z "$(find runs/killed/checkpoints -name '.tmp.*')" ] || report "killed: unfinished checkpoints are left"
}

hangs() {
  local pid call='#[0-9]+ of [0-9]+ bytes did not finish in 2\.0 s; '
  start_long 3 hung parallelism.dp=auto fault.hang_timeout=2s
  pid=$(pid_of_rank 1)
  kill -s STOP "$pid"
  ended 69 hung
  grep -qE "group (dp|world) \(rank [02] of 3\): [a-z_]+ $call.*(not arrived|called it, but does not move on|from or to): rank 1 on " hung.log ||
    report "hung: the call and the rank are not named: $(cat hung.log)"
}

small_job
sed -i 's/num_hidden_layers: 2/num_hidden_layers: 4/; s/global_batch_size: 6, micro_batch_size: 3/global_batch_size: 9, micro_batch_size: 1/; s/sequence_length: 64/sequence_length: 32/' job.yaml
layouts
bits
mistakes
stops
deaths
hangs
left=$(leftovers)
[ -z "$left" ] || report "$left"
finish "training under mpirun does as promised"

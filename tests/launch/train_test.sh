#!/bin/bash
# Training as a whole: its files, the same bits again and with other thread counts, and an end on demand.
#   train_test.sh PROGRAM JSON_KEYS
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=tests/launch/small_job.sh
source "$here/small_job.sh"
# shellcheck source=tests/launch/runs.sh
source "$here/runs.sh"

# train NAME OVERRIDES...: the small job as the run of that name.
train() {
  local name=$1
  shift
  "$program" train job.yaml run.name="$name" "$@" 2>"$name.log" || report "train $*: exit $?: $(cat "$name.log")"
}

files() {
  local file key line
  train small
  for file in config.resolved.yaml metrics.jsonl events.jsonl report.html checkpoints/latest; do
    [ -s "runs/small/$file" ] || report "the run lacks $file"
  done
  [ "$(cat runs/small/checkpoints/latest)" = step_00000004 ] || report "latest is $(cat runs/small/checkpoints/latest)"
  [ "$(grep -c '"loss"' runs/small/metrics.jsonl)" -eq 4 ] || report "not 4 rows of loss"
  [ "$(grep -c '"val_loss"' runs/small/metrics.jsonl)" -eq 2 ] || report "not 2 rows of val_loss"
  line=" $(grep -m1 '"loss"' runs/small/metrics.jsonl | "$json_keys") "
  for key in v attempt step loss grad_norm lr tokens step_s tokens_per_s time_s mfu memory_gib; do
    [[ $line == *" $key "* ]] || report "a row of metrics.jsonl lacks $key"
  done
  while read -r line; do
    [[ " $("$json_keys" <<<"$line") " == *' event '* ]] || report "no event: $line"
  done <runs/small/events.jsonl
  "$program" train runs/small/config.resolved.yaml run.name=resolved 2>/dev/null || report "config.resolved.yaml does not run"
  same_bits small resolved
}

overrides() {
  train none training.steps=0
  [ "$(cat runs/none/checkpoints/latest)" = step_00000000 ] || report "training.steps=0 wrote no weights"
  [ "$(grep -c '"loss"' runs/none/metrics.jsonl)" -eq 0 ] || report "training.steps=0 trained"
  train again training.steps=0
  cmp -s "$(weights none)" "$(weights again)" || report "initial weights differ"
  train seed training.steps=0 run.seed=4
  ! cmp -s "$(weights none)" "$(weights seed)" || report "the seed changes nothing"
  train part training.stop_after=2
  [ "$(cat runs/part/checkpoints/latest)" = step_00000002 ] || report "training.stop_after=2 ended elsewhere"
  cmp -s <(metrics part | head -8) <(metrics small | head -8) || report "training.stop_after changed the steps before it"
  "$program" checkpoint import "$(dirname "$(weights none)")" --out runs/imported >/dev/null
  train imported
  same_bits small imported
}

# Once more, and with other numbers of threads, for each family and precision.
bits() {
  local job=() threads name
  for name in llama-fp32 gpt2-fp32 llama-fp64 llama-bf16 llama-recompute; do
    case $name in
      llama-fp32) job=() ;;
      gpt2-fp32) job=(model.architecture=gpt2 model.num_key_value_heads=4) ;;
      llama-fp64) job=(precision.compute=fp64) ;;
      llama-bf16) job=(precision.compute=bf16) ;;
      llama-recompute) job=(training.recompute=full) ;;
    esac
    train "$name" "${job[@]}" training.steps=10
    train "$name-again" "${job[@]}" training.steps=10
    same_bits "$name" "$name-again"
    for threads in 2 3; do
      train "$name-$threads" "${job[@]}" training.steps=10 training.threads="$threads"
      same_bits "$name" "$name-$threads"
    done
  done
  same_bits llama-fp32 llama-recompute
}

# ended_by SIGNAL: a long training ends after its step, with its weights, and says so by exit code 75.
ended_by() {
  local signal=$1 name=on-$1 status=0 steps
  rm -rf "runs/$name"
  "$program" train job.yaml run.name="$name" training.steps=1000000 evaluation.interval_steps=0 2>"$name.log" &
  local process=$!
  until_step "$name" 3 || true
  kill -s "$signal" $process
  wait $process || status=$?
  [ $status -eq 75 ] || report "$signal: exit $status, expected 75: $(tail -n 5 "$name.log")"
  steps=$(grep -c '"loss"' "runs/$name/metrics.jsonl")
  [ "$(cat "runs/$name/checkpoints/latest")" = "$(printf 'step_%08d' "$steps")" ] ||
    report "$signal: latest is $(cat "runs/$name/checkpoints/latest") after $steps steps"
  "$program" eval "runs/$name" --data data --batches 1 >/dev/null || report "$signal: the weights cannot be read"
}

small_job
files
overrides
bits
for signal in TERM USR1 INT TERM USR2 INT; do ended_by $signal; done
finish "training does as promised"

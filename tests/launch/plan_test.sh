#!/bin/bash
# The verb `plan`: its JSON, its files and its refusals.
#   tests/launch/plan_test.sh PROGRAM SOURCE_FOLDER
set -euo pipefail
program=$1 clusters=$2/configs/clusters
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "plan_test: $*" >&2; exit 1; }

cat >"$scratch/job.yaml" <<'JOB'
model: {preset: llama-7b}
tokenizer: {kind: huggingface, path: none}
data: {train: none}
parallelism: auto
training: {sequence_length: 2048, global_batch_size: 256, steps: 10}
precision: {compute: bf16}
JOB
plan() { "$program" plan "$scratch/job.yaml" --cluster "$clusters/h100.yaml" "$@"; }

# Every promised key, and the best first.
json=$(plan --gpus 64 --json --tokens 1T)
for key in dp tp pp virtual_stages schedule micro_batch_size recompute sequence_parallel zero_stage step_s \
  tokens_per_s_per_rank tflops_per_rank mfu bubble_ratio exposed_comm_s memory_gib parameters gradients optimizer \
  activations other total layouts refused hours cost; do
  [[ $json == *"\"$key\":"* ]] || fail "no $key in the JSON"
done
[[ $(plan --gpus 64 --json) == "$(plan --gpus 64 --json)" ]] || fail "two runs differ"
times=$(grep -o '"step_s": [0-9.e-]*' <<<"$json" | cut -d' ' -f2)
[[ $times == "$(sort -g <<<"$times")" ]] || fail "not sorted: $times"

# What the job fixes stays.
[[ $(plan --gpus 64 --json --top 1000 parallelism.tp=4 | grep -o '"tp": [0-9]*' | sort -u) == '"tp": 4' ]] ||
  fail "tp did not stay"

# The written job is one that plans and shows the same layout, and fixes everything.
plan --gpus 64 --write "$scratch/written.yaml" --svg "$scratch/step.svg" --trace "$scratch/step.json" --explain 1 \
  >"$scratch/out"
grep -q 'tensor-parallel, exposed' "$scratch/out" || fail "no explanation"
"$program" config show "$scratch/written.yaml" >/dev/null || fail "the written job is not one"
again=$("$program" plan "$scratch/written.yaml" --cluster "$clusters/h100.yaml" --json)
[[ $(grep -c '"step_s"' <<<"$again") == 1 ]] || fail "the written job leaves something open"
[[ $(grep -m1 '"step_s"' <<<"$again") == $(grep -m1 '"step_s"' <<<"$json") ]] || fail "and has another step time"

# A pipeline to draw.
plan --gpus 64 parallelism.pp=4 --svg "$scratch/step.svg" --trace "$scratch/step.json" >/dev/null
grep -q '^</svg>$' "$scratch/step.svg" || fail "no SVG"
grep -q '"F mb1"' "$scratch/step.json" || fail "no trace"

# Days with interruptions, reproducible.
days() { plan --gpus 64 --goodput --days 30 --spares 1 --seed "$1" | grep -A8 'effective training time'; }
[[ $(days 1) == "$(days 1)" ]] || fail "goodput is not reproducible"
plan --gpus 64 --goodput | grep '^Assumed: ' >/dev/null || fail "no assumptions"

# Refused with its code, a reason and a way out.
refused() {
  local code=$1 want=$2 status=0
  shift 2
  "$program" plan "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
  [[ $status == "$code" ]] || fail "plan $*: exit $status, $(cat "$scratch/err")"
  grep -q -- "$want" "$scratch/out" "$scratch/err" || fail "plan $*: $(cat "$scratch/out" "$scratch/err")"
}
refused 66 'configs/clusters' "$scratch/job.yaml" --cluster "$scratch/none.yaml"
refused 64 'give --gpus 16384 or fewer' "$scratch/job.yaml" --cluster "$clusters/h100.yaml" --gpus 100000
refused 64 '15T' "$scratch/job.yaml" --cluster "$clusters/h100.yaml" --gpus 8 --tokens many
refused 78 'GiB even with' "$scratch/job.yaml" --cluster "$clusters/h100.yaml" --gpus 1
sed 's/^nodes: .*/nodes: none/; s/matmul:/matmull:/' "$clusters/h100.yaml" >"$scratch/bad.yaml"
refused 78 'bad.yaml:[0-9]*:[0-9]*: nodes is none' "$scratch/job.yaml" --cluster "$scratch/bad.yaml"
refused 78 'did you mean fitted.matmul' "$scratch/job.yaml" --cluster "$scratch/bad.yaml"
echo "plan_test: all as it should be"

# shellcheck shell=bash
# What the tests of this folder share; they source it with the program and json_keys as arguments.
program=$(realpath "$1")
# shellcheck disable=SC2034  # of those who source this
json_keys=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

report() {
  printf 'FAILED: %s\n' "$*"
  failures=$((failures + 1))
}

# A text that has something to learn, as a byte data set, and a job of a tiny model on it.
small_job() {
  for ((i = 0; i < 300; i++)); do echo "line $i of a small text, whose words are $((i * 7919 % 997))"; done >text.txt
  "$program" tokenize text.txt --tokenizer byte --out data --no-progress >/dev/null
  cat >job.yaml <<'YAML'
run: {name: small, dir: runs, seed: 3}
device: cpu
model: {architecture: llama, hidden_size: 48, intermediate_size: 80, num_hidden_layers: 2, num_attention_heads: 4,
        num_key_value_heads: 2, vocab_size: 256, max_position_embeddings: 64}
tokenizer: {kind: byte}
data: {train: data, validation: data}
training: {sequence_length: 64, global_batch_size: 6, micro_batch_size: 3, steps: 4, threads: 1}
optimizer: {lr: 1.0e-3}
lr_schedule: {warmup_steps: 0}
evaluation: {interval_steps: 2, batches: 1}
YAML
}

# finish: the test's verdict.
finish() {
  [ $failures -eq 0 ] || { echo "$failures checks failed"; exit 1; }
  echo "$1"
}

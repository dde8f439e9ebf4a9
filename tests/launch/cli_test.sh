#!/bin/bash
# What the program answers: exit codes, one clear message for each mistake, and JSON where it is promised.
#   cli_test.sh PROGRAM JSON_KEYS
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=tests/launch/small_job.sh
source "$here/small_job.sh"
# shellcheck source=tests/launch/answers.sh
source "$here/answers.sh"

# prints TEXT ARGUMENTS...: exit 0 and exactly this line.
prints() {
  local text=$1
  shift
  "$program" "$@" >out 2>err </dev/null || { report "trident $*: exit $?: $(cat err)"; return; }
  printf '%s\n' "$text" | cmp -s - out || report "trident $*: printed $(head -c 200 out), expected $text"
}

usage() {
  local verb
  refuses 64 'a verb is missing: train, .*tokenize'
  refuses 64 'unknown verb trian; did you mean train\?' trian
  refuses 64 'unknown verb tokenise; did you mean tokenize\?' tokenise
  refuses 64 'unknown verb exprt; did you mean export\?' checkpoint exprt
  refuses 64 'unknown verb quux$' quux
  refuses 64 'a verb is missing: list, show, verify, diff, export, import' checkpoint
  refuses 64 'unknown option --token; did you mean --tokens\?' generate runs/small --token 3
  refuses 64 'trident train: job is required' train
  refuses 64 'help: trident eval --help' eval
  for verb in train generate eval tokenize checkpoint 'checkpoint '{list,show,verify,diff,export,import} config \
    'config show' doctor; do
    # shellcheck disable=SC2086  # words
    "$program" $verb --help >out 2>err || report "trident $verb --help: exit $?"
    if [ ! -s out ] || [ -s err ]; then report "trident $verb --help is not on stdout"; fi
  done
  for verb in train generate eval tokenize checkpoint 'checkpoint '{list,show,verify,diff,export,import} 'config show'; do
    # shellcheck disable=SC2086
    "$program" $verb --help | grep 'Example' >/dev/null || report "trident $verb --help has no example"
  done
  "$program" --version | grep -E '^trident [0-9]+\.[0-9]+\.[0-9]+$' >/dev/null || report "--version does not name the version"
}

configuration() {
  refuses 66 'nowhere\.yaml' train nowhere.yaml
  refuses 65 '\. is a folder, not a job file' train .
  refuses 78 'training\.stepz; did you mean training\.steps\?' train job.yaml training.stepz=5
  refuses 78 'argument 2:1:' train job.yaml training.steps=1 training.steps=many
  refuses 78 'dotted\.key=value' train job.yaml training.steps
  refuses 78 'dp·tp·pp = 2·1·1 = 2, but 1 rank was started' train job.yaml parallelism.dp=2
  refuses 78 'device is cuda' train job.yaml device=cuda
  refuses 78 'the tokenizer has 256 tokens, more than model\.vocab_size 100' train job.yaml model.vocab_size=100
  sed 's/hidden_size: 48/hiden_size: 48/; s/seed: 3/sed: 3/' job.yaml >typos.yaml
  refuses 78 'typos\.yaml:1:[0-9]+: .*run\.sed; did you mean run\.seed\?' train typos.yaml
  refuses 78 'typos\.yaml:3:[0-9]+: .*model\.hiden_size; did you mean model\.hidden_size\?' train typos.yaml
  printf 'run: [\n' >broken.yaml
  refuses 78 'broken\.yaml:' train broken.yaml
  refuses 78 'binary\.yaml' train binary.yaml
  [ ! -e runs ] || report "a refused job made a run directory"
  "$program" config show job.yaml training.steps=9 >shown.yaml || report "config show: exit $?"
  grep -q 'steps: 9' shown.yaml || report "config show lacks the override"
  "$program" config show shown.yaml | cmp -s - shown.yaml || report "config show of its own output differs"
  gives_keys 'type properties' config schema
}

data() {
  refuses 66 'nowhere\.idx.*trident tokenize' train job.yaml data.train=nowhere
  cp data.bin cut.bin
  head -c 20 data.idx >cut.idx
  refuses 65 'cut\.idx, byte' train job.yaml data.train=cut
  printf '\377\377%.0s' {1..400} >large.bin
  refuses 65 'large\.bin, byte 0.*65535' train job.yaml data.train=large.bin data.shuffle=false
  rm -rf runs
  refuses 64 'inputs and --out are needed' tokenize --tokenizer byte
  refuses 66 'nowhere\.txt' tokenize nowhere.txt --tokenizer byte --out x
  refuses 66 'nowhere.*no such tokenizer' tokenize text.txt --tokenizer nowhere --out x
  printf '{"text": "a"}\n{"text": 3}\n' >bad.jsonl
  refuses 65 'bad\.jsonl' tokenize bad.jsonl --tokenizer byte --out x --no-progress
  if [ -e x.bin ] || [ -e x.idx ]; then report "a failed tokenize left a data set"; fi
  refuses 64 "'x' is no token id" tokenize --tokenizer byte --decode '1 x'
  refuses 65 'id 256 is not a byte' tokenize --tokenizer byte --decode 256
  prints '104 105' tokenize --tokenizer byte --ids hi
  prints hi tokenize --tokenizer byte --decode '104,105'
  prints $'\377\200' tokenize --tokenizer byte --decode '255 128'
  gives_keys 'documents tokens bytes seconds' tokenize text.txt --tokenizer byte --out again --json --no-progress
}

models() {
  "$program" train job.yaml training.steps=0 2>/dev/null || report "training.steps=0: exit $?"
  refuses 64 "'x' is no token id" generate runs/small --ids 1,x
  refuses 64 "'-1' is no token id" generate runs/small --ids=-1
  refuses 64 "'99999999999' is no token id" generate runs/small --ids 99999999999
  refuses 64 'token 256 .* vocabulary of 256' generate runs/small --ids 256
  refuses 64 'no tokens' generate runs/small --ids ''
  refuses 64 'temperature is -1' generate runs/small --prompt a --temperature=-1
  refuses 64 'top-p is 2' generate runs/small --prompt a --top-p 2
  refuses 66 'nowhere is neither a run with checkpoints, nor a checkpoint, nor a Hugging Face directory' generate nowhere --prompt a
  refuses 66 'nowhere' eval runs/small --data nowhere
  refuses 64 '65 is more than the model.s 64 positions' eval runs/small --data data --sequence-length 65
  gives_keys 'ids text' generate runs/small --prompt 'line' --tokens 3 --json
  gives_keys 'loss perplexity tokens' eval runs/small --data data --json
  prints '' generate runs/small --ids 1,2 --tokens 0
}

small_job
head -c 500 /dev/urandom >binary.yaml
usage
configuration
data
models
finish "the program answers as promised"

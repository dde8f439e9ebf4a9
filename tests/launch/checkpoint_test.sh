#!/bin/bash
# The verbs of `trident checkpoint`: what they print and answer, and that a failing one leaves nothing behind.
#   checkpoint_test.sh PROGRAM JSON_KEYS NEWER_MANIFEST
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
newer_manifest=$(realpath "$3")
# shellcheck source=tests/launch/small_job.sh
source "$here/small_job.sh"
# shellcheck source=tests/launch/answers.sh
source "$here/answers.sh"

folder() { echo "runs/$1/checkpoints/$(printf 'step_%08d' "$2")"; }

# answers STATUS PATTERN VERB ARGUMENTS...: exit code, and a pattern in what stdout says.
answers() {
  local status=$1 pattern=$2 found=0
  shift 2
  "$program" checkpoint "$@" >out 2>err </dev/null || found=$?
  [ "$found" -eq "$status" ] || report "checkpoint $*: exit $found, expected $status; it said: $(cat out err)"
  grep -qE -e "$pattern" out || report "checkpoint $*: no '$pattern' in: $(cat out err)"
}

# A run with checkpoints of steps 2 and 4, what was set aside, and what a writer left.
train() {
  "$program" train job.yaml checkpoint.interval_steps=2 2>/dev/null || report "train: exit $?"
  mkdir runs/small/checkpoints/{step_00000006.abandoned,.tmp.step_00000008.a1b2}
}

listing() {
  answers 0 '^ *4 .*MiB +dp=1 tp=1 pp=1 +complete +step_00000004$' list runs/small
  answers 0 '^ *6 .* abandoned +step_00000006\.abandoned$' list runs/small
  answers 0 '^ *8 .* unfinished +\.tmp\.step_00000008\.a1b2$' list runs/small
  [ "$(awk '{ print $1 }' out | tr '\n' ' ')" = 'step 8 6 4 2 ' ] || report "list: not newest first: $(cat out)"
  gives_keys 'run checkpoints' checkpoint list runs/small --json
  answers 0 '"step":4,"name":"step_00000004","time":"[0-9T:-]+Z","bytes":[0-9]+,"layout":\{"dp":1,"tp":1,"pp":1' \
    list runs/small --json
  answers 0 'runs/empty has no checkpoints' list runs/empty
  refuses 66 'nowhere is no run' checkpoint list nowhere
}

showing() {
  gives_keys 'step consumed_samples layout tensors bytes' checkpoint show runs/small --json
  answers 0 '"step":4,"consumed_samples":24,"layout":\{"dp":1,"tp":1,"pp":1' show runs/small --json
  answers 0 '\{"name":"embedding.weight","shape":\[256,48\],"dtype":"fp32","digest":"[0-9a-f]{16}"' show runs/small --json
  answers 0 '^holds +61680 parameters in 21 tensors, fp32, with moments$' show "$(folder small 2)"
  answers 0 '^layers\.1\.mlp\.down\.weight +\[48, 80\] +fp32 +[0-9a-f]{16}$' show "$(folder small 2)/"
  refuses 66 'nowhere is neither a checkpoint nor a run' checkpoint show nowhere
  refuses 66 'runs/empty is neither a checkpoint nor a run' checkpoint show runs/empty
}

# damaged COMMANDS: the exit code and text of `verify` on a copy of step 4 that the commands have changed.
damaged() {
  local status=$1 pattern=$2
  shift 2
  rm -rf copy
  cp -r "$(folder small 4)" copy
  (cd copy && "$@")
  answers "$status" "$pattern" verify copy
  answers "$status" '^\{"ok":false,"problems":\[\{"file":".*","tensor":".*","block":.*,"detail":".+"\}' verify copy --json
}

flip_byte() { printf '\125' | dd of=rank_00000.h5 bs=1 seek=200000 conv=notrunc status=none; }
later_format() { "$newer_manifest" MANIFEST.json; }

verifying() {
  answers 0 "^$(folder small 4) is intact: [0-9.]+ MiB in [0-9]+ files, 21 tensors" verify runs/small
  gives_keys 'ok problems' checkpoint verify runs/small --json
  answers 0 '^\{"ok":true,"problems":\[\]' verify "$(folder small 2)" --json
  damaged 1 '^rank_00000\.h5 +layers\.1\.mlp\.down\.weight +0 ' flip_byte
  damaged 1 '^MANIFEST\.json ' truncate --size=-1 MANIFEST.json
  damaged 2 '^rank_00000\.sum .*not there' rm rank_00000.sum
  damaged 3 'newer format' later_format
  answers 2 'incomplete' verify runs/small/checkpoints/step_00000006.abandoned
  refuses 66 'nowhere is neither' checkpoint verify nowhere
  refuses 66 'data.bin is neither' checkpoint verify data.bin
}

comparing() {
  answers 0 '^all 21 tensors are equal$' diff runs/small "$(folder small 4)"
  answers 0 '^\{"equal":true,.*"differences":\[\]\}$' diff runs/small runs/small --json
  answers 1 '^embedding\.weight +exp_avg_sq +[0-9]+ +[0-9.e-]+ +[0-9.e-]+$' diff "$(folder small 2)" "$(folder small 4)"
  answers 1 '"tensor":"head.weight","state":"master","detail":"","elements":[0-9]+,"largest":0\.' \
    diff "$(folder small 2)" runs/small --json
  answers 1 '^embedding\.weight +exp_avg .*only in runs/small' diff runs/small runs/imported
  refuses 66 'nowhere is neither' checkpoint diff runs/small nowhere
}

converting() {
  gives_keys 'out parameters check' checkpoint export runs/small --out hf --json
  refuses 64 'hf exists' checkpoint export runs/small --out hf
  answers 0 'checked against the source: weights equal, logits of 8 tokens equal' export runs/small --out hf --overwrite
  answers 0 'weights equal the source.s rounded to bf16, logits of 8 tokens equal' export runs/small --out half --dtype bf16
  gives_keys 'out parameters' checkpoint import hf --out runs/imported --json
  answers 0 'complete, weights alone +step_00000000$' list runs/imported
  answers 0 'is intact' verify runs/imported
  [ "$(cat runs/imported/checkpoints/latest)" = step_00000000 ] || report "import: latest is not step 0"
  refuses 64 'runs/imported is a run that has checkpoints' checkpoint import hf --out runs/imported
  "$program" checkpoint export runs/imported --out back >/dev/null || report "export of an import: exit $?"
  diff -r hf back >out || report "import, then export changes: $(cat out)"
  "$program" checkpoint import half --out runs/half >/dev/null || report "import of bf16: exit $?"
  "$program" checkpoint export runs/half --out half-back --dtype bf16 >/dev/null || report "export of it: exit $?"
  diff -r half half-back >out || report "import, then export changes bf16: $(cat out)"
  rm back/tokenizer.json
  refuses 66 'tokenizer.*--ids' generate back --prompt a
  gives_keys 'ids text' generate back --ids 1,2,3 --tokens 3 --json
}

# with_small_files CHECK ARGUMENTS...: the check, of a program that may write files of 100 KiB at most.
with_small_files() {
  local real=$program program=$work/limited
  printf '#!/bin/bash\nulimit -f 100\nexec %q "$@"\n' "$real" >limited
  chmod +x limited
  "$@"
}

# What an export or import refuses or fails at leaves no folder and no file.
nothing_left() {
  refuses 65 'rank_00000\.h5, block 0' checkpoint export copy --out bad
  refuses 66 'empty/config\.json' checkpoint import empty --out runs/cut
  refuses 64 'is a checkpoint of Trident.s own' checkpoint import "$(folder small 4)" --out runs/cut
  truncate --size=1000 back/model.safetensors
  refuses 65 'back/model\.safetensors' checkpoint import back --out runs/cut
  with_small_files refuses 74 'rank_00000\.h5.*File too large' checkpoint import hf --out runs/cut
  printf '{' >back/config.json
  refuses 65 'back/config\.json' checkpoint import back --out runs/cut
  refuses 65 'back/config\.json' eval back --data data
  [ ! -e runs/cut ] || report "a refused import made a run: $(find runs/cut)"
  mkdir -p runs/there
  with_small_files refuses 74 'File too large' checkpoint import hf --out runs/there
  with_small_files refuses 74 'File too large' checkpoint export runs/small --out bad
  [ -z "$(find runs/there -name '*step*')" ] || report "a failed import left $(find runs/there)"
  [ -z "$(find . -maxdepth 1 -name '.*.tmp.*' -o -name bad)" ] || report "a failed export left $(ls -A)"
}

# Weights of others are where a run starts, once.
fine_tuning() {
  local from
  for from in half runs/small "$(folder small 2)"; do
    rm -rf runs/fine
    "$program" train job.yaml run.name=fine checkpoint.weights="$from" training.steps=0 2>fine.log || report "train: exit $?"
    grep -q 'weights from' fine.log || report "checkpoint.weights=$from: not told: $(cat fine.log)"
    "$program" checkpoint export runs/fine --out tuned --overwrite >/dev/null
    "$program" checkpoint export "$from" --out from --overwrite >/dev/null
    cmp -s tuned/model.safetensors from/model.safetensors || report "checkpoint.weights=$from: other weights"
  done
  "$program" train job.yaml run.name=fine checkpoint.weights=half 2>fine.log || report "train on: exit $?"
  ! grep -q 'weights from' fine.log || report "checkpoint.weights is taken although there is a checkpoint"
  "$program" train job.yaml run.name=double checkpoint.weights=half precision.compute=fp64 2>/dev/null ||
    report "weights alone do not convert to fp64: exit $?"
  "$program" checkpoint import half --out runs/double-too >/dev/null
  "$program" train job.yaml run.name=double-too precision.compute=fp64 2>err || report "fp64 from an import: $(cat err)"
  answers 0 'all 21 tensors are equal' diff runs/double runs/double-too
  refuses 66 'checkpoint\.weights.*nowhere is no folder' train job.yaml run.name=fails checkpoint.weights=nowhere
  refuses 78 'hidden_size: 48 there, 96 in the job' train job.yaml run.name=fails checkpoint.weights=half model.hidden_size=96
}

small_job
mkdir -p empty runs/empty/checkpoints
train
listing
showing
verifying
converting
comparing
damaged 1 'rank_00000' flip_byte
nothing_left
fine_tuning
finish "checkpoints are shown, proved, compared and converted"

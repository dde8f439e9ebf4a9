# shellcheck shell=bash
# What runs computed, and waiting for them; source small_job.sh first.
: "${program:?}"

# numbers NAME: every step's loss and gradient norm, as its last attempt computed it.
numbers() {
  grep '"loss"' "runs/$1/metrics.jsonl" | sed -E 's/.*"step":([0-9]+),"loss":([^,]*),"grad_norm":([^,]*),.*/\1 \2 \3/' |
    awk '{ last[$1] = $0 } END { for (step in last) print last[step] }' | sort -n
}

digests() { "$program" checkpoint show "runs/$1" --json | grep -oE '"digest": ?"[^"]*"'; }

# same_run NAME OTHER: the same numbers and weights, whatever was done again on the way.
same_run() {
  cmp -s <(numbers "$1") <(numbers "$2") || report "$1 and $2: other numbers: $(diff <(numbers "$1") <(numbers "$2") | head -4)"
  cmp -s <(digests "$1") <(digests "$2") || report "$1 and $2: other weights"
}

# weights NAME: the file of a run's newest weights, exported once.
weights() {
  [ -e "exported/$1" ] || "$program" checkpoint export "runs/$1" --out "exported/$1" >/dev/null
  echo "exported/$1/model.safetensors"
}

# metrics NAME: all that training computed, without times, every digit.
metrics() { grep -oE '"(loss|val_loss|grad_norm|lr|step|tokens)":[^,}]*' "runs/$1/metrics.jsonl"; }

# same_bits NAME OTHER: two runs have equal metrics, weights and states.
same_bits() {
  cmp -s <(metrics "$1") <(metrics "$2") || report "$1 and $2: other metrics: $(diff <(metrics "$1") <(metrics "$2") | head -4)"
  cmp -s "$(weights "$1")" "$(weights "$2")" || report "$1 and $2: other weights"
  "$program" checkpoint diff "runs/$1" "runs/$2" >out || report "$1 and $2: other states: $(cat out)"
}

# until_step NAME STEP: waits until a run that trains now has done this step; fails where that does not come in 30 s.
until_step() {
  local waited=0
  until grep -qs "\"step\":$2," "runs/$1/metrics.jsonl"; do
    [ $waited -lt 1500 ] || { report "$1: never came to step $2: $(cat "$1.log")"; return 1; }
    sleep 0.02
    waited=$((waited + 1))
  done
}

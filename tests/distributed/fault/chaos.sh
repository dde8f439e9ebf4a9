# shellcheck shell=bash disable=SC2154
# What tests share that run a schedule of faults, NAME.yaml; they source fault.sh first.

# chaos NAME WORDS...: the job as the run of that name, under the schedule; its exit code.
chaos() {
  local name=$1 status=0
  shift
  timeout --kill-after=5 "${watchdog_s:-120}" "$program" chaos "$name.yaml" job.yaml run.name="$name" "${job[@]}" \
    --mpirun=--oversubscribe "$@" 2>>"$name.log" || status=$?
  return $status
}

# survives NAME FAULTS WORDS...: so many faults of the schedule happen, and are found and named.
survives() {
  local name=$1 faults=$2 status=0
  shift 2
  chaos "$name" "$@" || status=$?
  [ $status -eq 0 ] || report "$name: exit $status: $(tail -n 20 "$name.log")"
  seen_through "$name" "$faults"
}

# seen_through NAME FAULTS: chaos.jsonl says so of each.
seen_through() {
  local name=$1 faults=$2
  [ "$(grep -c '"right":true' "runs/$name/chaos.jsonl")" -eq "$faults" ] ||
    report "$name: not $faults faults named rightly: $(cat "runs/$name/chaos.jsonl")"
  [ "$(head -n 1 "runs/$name/chaos.jsonl" | "$json_keys")" = "committed detected epoch fault fenced host injected \
kind named named_cause named_host named_rank rank resumed right step v" ] || report "$name: chaos.jsonl has other keys"
}

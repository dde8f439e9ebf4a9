#!/bin/bash
# The verb `schedule`: its JSON, its files and its refusals.
#   tests/launch/schedule_test.sh PROGRAM
set -euo pipefail
program=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "schedule_test: $*" >&2; exit 1; }

json=$("$program" schedule 1f1b --stages 2 --microbatches 2 --json)
want='{"schedule":"1f1b","stages":2,"microbatches":2,"virtual_stages":1,"actions":[["0F0","0F1","0B0","0B1"],["1F0","1B0","1F1","1B1"]],"makespan":9.0,"bubble_ratio":0.33333333333333337,"bubble_ratio_stage_span":0.3333333333333333,"peak_live":[2,1]'
[[ $json == "$want"* ]] || fail "JSON is $json"

# A row of the zero-bubble paper's table.
span() { "$program" schedule "$@" --json | grep -o '"bubble_ratio_stage_span":[0-9.e-]*' | cut -d: -f2; }
h1=$(span zb-h1 --stages 8 --microbatches 24 --costs 18.522,18.086,9.337,0.601)
[[ $h1 == 0.1585* || $h1 == 0.15845* ]] || fail "zb-h1 has $h1"
interleaved=$(span interleaved --stages 8 --microbatches 24 --virtual 3 --costs 18.522,18.086,9.337,0.601)
[[ $interleaved == 0.1055* || $interleaved == 0.1054[5-9]* ]] || fail "interleaved has $interleaved"
interleaved=$(span interleaved --stages 8 --microbatches 64 --virtual 3 --costs 18.546,18.097,9.321,0.762)
[[ $interleaved == 0.0443* || $interleaved == 0.04425* ]] || fail "interleaved has $interleaved"

"$program" schedule zb-v --stages 4 --microbatches 8 --svg "$scratch/a.svg" --trace "$scratch/a.json"
grep -q '^</svg>$' "$scratch/a.svg" || fail "no SVG"
grep -q '"F mb7"' "$scratch/a.json" || fail "no trace"

# Refused with 64, a reason and a way out, at once.
refused() {
  local want=$1 status=0
  shift
  timeout 20 "$program" schedule "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
  [[ $status == 64 ]] || fail "schedule $*: exit $status, $(cat "$scratch/err")"
  grep -q -- "$want" "$scratch/err" || fail "schedule $*: $(cat "$scratch/err")"
  [[ ! -s $scratch/out ]] || fail "schedule $*: printed $(cat "$scratch/out")"
}
refused 'use 8 microbatches or more' interleaved --stages 8 --microbatches 7 --virtual 2
refused 'exactly two' zb-v --stages 2 --microbatches 2 --virtual 3
refused 'use gpipe, 1f1b' f1b --stages 2 --microbatches 2
refused 'microbatches are possible' 1f1b --stages 4096 --microbatches 1000000000
refused '1 to 4096' 1f1b --stages 9223372036854775807 --microbatches 1
refused 'ranks' 1f1b --stages 0 --microbatches 1
refused 'ranks' 1f1b --stages 99999999999999999999999 --microbatches 1
refused 'costs' 1f1b --stages 2 --microbatches 1 --costs 1,2
refused 'costs' 1f1b --stages 2 --microbatches 1 --costs nan,1,1,0
refused 'costs' 1f1b --stages 2 --microbatches 1 --costs -1,1,1,0
refused 'costs' 1f1b --stages 2 --microbatches 1 --costs 0,0,0,1
refused 'too many to draw' 1f1b --stages 64 --microbatches 10000 --svg "$scratch/b.svg"
[[ ! -e $scratch/b.svg ]] || fail "a refused drawing was written"
echo "schedule_test: all as it should be"

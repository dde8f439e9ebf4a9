# shellcheck shell=bash
# Checks of what the program answers; source small_job.sh first.
: "${program:?}" "${json_keys:?}"

# refuses STATUS PATTERN ARGUMENTS...: exit code, a pattern in what stderr says, nothing on stdout, no call it a bug.
refuses() {
  local status=$1 pattern=$2 found=0
  shift 2
  "$program" "$@" >out 2>err </dev/null || found=$?
  [ "$found" -eq "$status" ] || report "trident $*: exit $found, expected $status; it said: $(cat err)"
  grep -qE -e "$pattern" err || report "trident $*: no '$pattern' in: $(cat err)"
  [ ! -s out ] || report "trident $*: printed a result: $(head -c 200 out)"
  ! grep -q 'this is a bug' err || report "trident $*: $(cat err)"
}

# gives_keys KEYS ARGUMENTS...: exit 0 and one JSON object with at least these keys, on stdout alone.
gives_keys() {
  local keys=$1 found key
  shift
  "$program" "$@" >out 2>err </dev/null || { report "trident $*: exit $?: $(cat err)"; return; }
  found=" $("$json_keys" <out) " || { report "trident $*: no JSON object: $(head -c 200 out)"; return; }
  for key in $keys; do
    [[ $found == *" $key "* ]] || report "trident $*: JSON lacks $key; it has$found"
  done
}

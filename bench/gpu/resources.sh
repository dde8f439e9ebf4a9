#!/bin/bash
# Registers, stack and shared memory of every kernel of a built library, one line each, the most registers first. Needs
# no GPU.
#
#   bench/gpu/resources.sh [LIBRARY|PROGRAM|CUBIN]
#
# Default: kernels/libtrident_kernels.a in TRIDENT_BUILD_DIR, else build/. CUOBJDUMP names cuobjdump where it is neither
# on the PATH, with the toolkit nor in the environment of tests/interop/setup_venv.sh. A stack is memory off the chip: spilled registers, or an array indexed at run time.
# Exit code: 1 when a kernel has a stack and spills.txt gives no reason for it, 77 without cuobjdump.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

case ${1:-} in
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
  -*) echo "resources: unknown option '$1'; see --help" >&2; exit 64 ;;
esac
library=${1:-${TRIDENT_BUILD_DIR:-$root/build}/kernels/libtrident_kernels.a}
[ -e "$library" ] || { echo "resources: there is no $library" >&2; exit 66; }
cuobjdump=${CUOBJDUMP:-$(command -v cuobjdump || compgen -G '/usr/local/cuda*/bin/cuobjdump' ||
  compgen -G "$root/.venv/lib/python3*/site-packages/nvidia/*/bin/cuobjdump" || true)}
cuobjdump=${cuobjdump%%$'\n'*}
[ -n "$cuobjdump" ] || { echo "resources: no cuobjdump here; it comes with the CUDA toolkit, and CUOBJDUMP may name it" >&2; exit 77; }
type c++filt >/dev/null 2>&1 || c++filt() { cat; }

# "ARCH FILE MANGLED REGISTERS STACK SHARED" per kernel. Kernels lie in anonymous namespaces, whose mangled names hold
# the file's: 18_attention_plain_cu_92198d3e.
usage=$("$cuobjdump" -res-usage "$library" | awk '
  /^arch = / { arch = $3 }
  / Function .*:$/ {
    name = $2; sub(/:$/, "", name); file = "?"
    if (match(name, /GLOBAL__N__[0-9a-f]+_[0-9]+_[A-Za-z0-9_]+_cu_[0-9a-f]+/)) {
      file = substr(name, RSTART, RLENGTH); sub(/^GLOBAL__N__[0-9a-f]+_[0-9]+_/, "", file); sub(/_cu_[0-9a-f]+.*/, "", file)
    }
  }
  /^ *REG:/ {
    for (i = 1; i <= NF; ++i) { split($i, part, ":"); value[part[1]] = part[2] }
    print arch, file, name, value["REG"], value["STACK"] + value["LOCAL"], value["SHARED"]
  }')
[ -n "$usage" ] || { echo "resources: no kernel in $library: built without CUDA?" >&2; exit 1; }

# The name without its namespaces, result and parameters.
short_names() {
  c++filt | sed -e 's/(anonymous namespace):://g; s/trident::cuda:://g; s/trident:://g; s/^void //' | awk '{
    depth = 0; shown = ""
    for (i = 1; i <= length($0); ++i) {
      c = substr($0, i, 1)
      if (c == "<") ++depth
      if (c == ">") --depth
      if (c == "(" && depth == 0) break
      shown = shown c
    }
    print shown
  }'
}

table=$(paste -d'\t' <(awk -v OFS='\t' '{ print $4, $5, $6, $1, $2 }' <<<"$usage") <(awk '{ print $3 }' <<<"$usage" | short_names) |
  sort -t$'\t' -k1,1nr -k5,5 -k6,6)
printf '%9s %6s %7s  %-8s %s\n' registers stack shared arch kernel
awk -F'\t' '{ printf "%9d %6d %7d  %-8s %s %s\n", $1, $2, $3, $4, $5, $6 }' <<<"$table"

# reason_for LABEL: from spills.txt, whose lines are "PATTERN | REASON"; empty where there is none.
reason_for() {
  local pattern reason
  while IFS='|' read -r pattern reason; do
    [[ $pattern != '#'* ]] || continue
    pattern=${pattern%"${pattern##*[![:space:]]}"}
    # shellcheck disable=SC2053  # a pattern
    if [ -n "$pattern" ] && [[ $1 == $pattern ]]; then
      echo "${reason:- none given}"
      return
    fi
  done <"$here/spills.txt"
}

status=0
while IFS=$'\t' read -r _ stack _ arch file name; do
  [ "$stack" -gt 0 ] || continue
  reason=$(reason_for "$file $name")
  if [ -n "$reason" ]; then
    echo "stack of $stack bytes: $file $name ($arch):$reason"
  else
    echo "stack of $stack bytes and no reason in spills.txt: $file $name ($arch)"
    status=1
  fi
done <<<"$table"
exit $status

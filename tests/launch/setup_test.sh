#!/bin/bash
# launch/setup.sh against a pretended machine: it must be idle when nothing is missing, install only what is missing,
# and say in one line what stands in the way.
set -euo pipefail
setup=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../launch" && pwd)/setup.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# A PATH with the usual small programs and, on top, the pretended ones.
mkdir "$work/bin"
for program in bash env dirname awk sort grep sed mktemp tail rm cat; do
  ln -s "$(command -v "$program")" "$work/bin/$program"
done

# pretend PROGRAM SCRIPT
pretend() {
  rm -f "$work/bin/$1"
  printf '#!/bin/bash\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

installed() { pretend dpkg-query "for p in $*; do echo \"\$p installed\"; done; echo 'gone not-installed'; exit 1"; }

# expect STATUS PATTERN ARGUMENTS...: exit status and a pattern that exactly one line of the output must match.
expect() {
  local status=$1 pattern=$2 found=0
  shift 2
  env -i PATH="$work/bin" CALLS="$work/calls" "$setup" "$@" >"$work/out" 2>&1 </dev/null || found=$?
  if [ "$found" -ne "$status" ] || [ "$(grep -cE -e "$pattern" "$work/out")" -ne 1 ]; then
    echo "setup.sh $*: exit $found, expected $status and one line like '$pattern'; it said:"
    cat "$work/out"
    failures=$((failures + 1))
  fi
}

expect 1 '^setup: error: apt-get not found'
pretend id 'echo 0'
# shellcheck disable=SC2016  # the pretended programs expand
pretend apt-get 'echo "$*" >>"$CALLS"'
pretend apt-cache 'exit 0'

installed clang-14 libclang-rt-14-dev
expect 0 'all 2 packages are installed' fuzz
[ ! -e "$work/calls" ] || { echo "apt-get was called with nothing missing"; failures=$((failures + 1)); }

installed clang-14
expect 1 '^setup: error: missing: libclang-rt-14-dev$' --check fuzz
expect 0 '^setup: installing 1 of 2 packages: libclang-rt-14-dev$' fuzz
grep -q 'install .*--no-install-recommends libclang-rt-14-dev$' "$work/calls" || {
  echo "apt-get was not asked for exactly what is missing:"; cat "$work/calls"; failures=$((failures + 1)); }

# shellcheck disable=SC2016
pretend apt-cache '[ "$3" != libclang-rt-14-dev ]'
expect 1 "^setup: error: not in this machine's package lists: libclang-rt-14-dev" fuzz
pretend apt-get 'echo "E: cannot resolve" >&2; exit 100'
expect 1 '^setup: error: apt-get update failed' fuzz
pretend id 'echo 1000'
expect 1 '^setup: error: not root and no sudo; as root: apt-get install libclang-rt-14-dev$' fuzz
expect 1 "^setup: error: unknown group 'fuz'" fuz

[ $failures -eq 0 ] || exit 1
echo "setup.sh says and does what it should"

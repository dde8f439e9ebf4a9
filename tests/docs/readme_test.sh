#!/bin/bash
# Runs the commands of README.md: each ```sh block that follows the line "<!-- run -->", in order, in a folder that
# looks like a checkout after the quick start's build. Blocks after "<!-- run with mpirun -->" only where that is asked
# for and possible. Then compares docs/job-file.md with the program's own key table and looks for links of the pages
# that lead nowhere.
#   readme_test.sh TRIDENT [mpirun]
set -euo pipefail
program=$(realpath "$1")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "$*"
  exit 1
}

with_mpirun=0
if [ "${2:-}" = mpirun ] && command -v mpirun >/dev/null; then
  with_mpirun=1
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
fi

# The blocks that are marked, one after another.
marked_blocks() {
  awk -v with_mpirun=$with_mpirun '
       /^<!-- run -->$/ || (with_mpirun && /^<!-- run with mpirun -->$/) { marked = 1; next }
       marked && /^```sh$/ { inside = 1; marked = 0; next }
       inside && /^```$/ { inside = 0; next }
       inside { print }' "$1"
}

mkdir -p "$work/checkout/build" "$work/cache"
cd "$work/checkout"
ln -s "$program" build/trident
for part in configs docs launch CONTRIBUTING.md README.md; do ln -s "$root/$part" "$part"; done
marked_blocks README.md >"$work/commands.sh"
[ "$(grep -c trident "$work/commands.sh")" -ge 6 ] || fail "README.md has lost its runnable commands"
XDG_CACHE_HOME=$work/cache bash -euxo pipefail "$work/commands.sh" >"$work/log" 2>&1 ||
  { cat "$work/log"; fail "a command of README.md fails (above)"; }
grep -q 'nats a token' "$work/log" || fail "README.md no longer evaluates"
[ $with_mpirun -eq 0 ] || grep -q '^the same bits$' "$work/log" || fail "README.md no longer trains on several ranks"

sed -n '/^<!-- keys -->$/,/^<!-- end of keys -->$/p' docs/job-file.md | sed '1d;$d' >"$work/written"
"$program" config keys >"$work/keys"
diff "$work/written" "$work/keys" || fail "docs/job-file.md lags behind \`trident config keys\`: paste its output in"

broken=0
cd "$root"
for page in README.md CONTRIBUTING.md CHANGELOG.md docs/*.md docs/*/*.md; do
  while IFS= read -r target; do
    [ -e "$(dirname "$page")/$target" ] || { echo "$page links to $target, which is not there"; broken=1; }
  done < <(grep -oE '\]\([^)# ]+' "$page" | sed 's/^](//' | grep -vE '^NNNN|://' || true)
done
[ $broken -eq 0 ] || fail "broken links"

#!/bin/bash
# Writes the King James Bible (Debian package bible-kjv, public domain) as plain text:
# a heading per chapter ("Genesis 1"), a numbered verse per line, 4.3 MB of ASCII.
#   launch/prepare_kjv.sh OUT.txt
set -euo pipefail

fail() {
  printf 'prepare_kjv: error: %s\n' "$*" >&2
  exit 1
}

[ $# -eq 1 ] || fail "usage: launch/prepare_kjv.sh OUT.txt"
out=$1
if [ -s "$out" ]; then
  echo "prepare_kjv: $out is there"
  exit 0
fi
command -v bible >/dev/null || fail "the program 'bible' is missing; run launch/setup.sh data"

mkdir -p "$(dirname "$out")"
part=$out.part.$$
trap 'rm -f "$part"' EXIT
# -p: only the packaged data, not a bible.data in the current folder; -l: never break a verse.
bible -l 100000 -p /usr/lib gen1:1-rev22:21 >"$part" || fail "'bible' failed"

verses=$(grep -cE '^  [0-9]+ ' "$part" || true)
[ "$verses" -eq 31102 ] || fail "expected 31102 verses, found $verses; is the package bible-kjv-text intact?"
if LC_ALL=C grep -q '[^ -~]' "$part"; then fail "unexpected bytes outside ASCII in the text"; fi
mv "$part" "$out"
echo "prepare_kjv: wrote $out ($(wc -c <"$out") bytes, $verses verses)"

#!/bin/bash
# launch/prepare_kjv.sh: the whole text, from the package only, whole or not at all. Exit 77: the package is missing.
set -euo pipefail
prepare=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../launch" && pwd)/prepare_kjv.sh
command -v bible >/dev/null || { echo "bible-kjv is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "$*"
  exit 1
}

echo "not the data" >bible.data
"$prepare" deep/kjv.txt
[ "$(wc -c <deep/kjv.txt)" -eq 4298239 ] || fail "unexpected size"
grep -qx '  1 In the beginning God created the heaven and the earth.' deep/kjv.txt || fail "no first verse"
tail -n 1 deep/kjv.txt | grep '^  21 The grace of our Lord Jesus Christ' >/dev/null || fail "no last verse"

touch -d 2001-01-01 deep/kjv.txt
"$prepare" deep/kjv.txt
[ "$(date -r deep/kjv.txt +%Y)" = 2001 ] || fail "written again though it was there"

mkdir fake
printf '#!/bin/bash\necho "  1 In the beg"\n' >fake/bible
chmod +x fake/bible
if PATH=$work/fake:$PATH "$prepare" short.txt 2>err; then fail "a truncated text passed"; fi
grep -q 'expected 31102 verses, found 1' err || fail "no clear error"
[ "$(find . -name 'short*')" = "" ] || fail "left a partial file"

#!/bin/bash
# Format, shellcheck, self-contained headers and clang-tidy over a finished build; prints offenders, fails on any.
#   tests/lint.sh [BUILD_DIR]
# A file that clang-tidy passed is not looked at again until it, a header of ours that it includes, or .clang-tidy changes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${1:-${TRIDENT_BUILD_DIR:-$root/build}}")
stamps=$build/lint
cd "$root"
mkdir -p "$stamps"
status=0

# Our files that match a pattern: git's idea of them, or, without git, everything outside build folders.
ours() {
  { git -c safe.directory='*' ls-files --cached --others --exclude-standard 2>/dev/null ||
    find . -path './build*' -prune -o -path './.*' -prune -o -type f -print | sed 's|^\./||'; } |
    grep -E "$1" | while IFS= read -r file; do [ ! -f "$file" ] || printf '%s\n' "$file"; done
}

check() {
  local name=$1
  shift
  if "$@"; then echo "lint: $name ok"; else echo "lint: $name FAILED"; status=1; fi
}

shell='(\.sh|\.sbatch|^\.ci/run)$'

format() { ours '\.(h|cpp|cu|cuh)$' | xargs -r clang-format-14 --dry-run -Werror; }

scripts() { ours "$shell" | xargs -r shellcheck; }

# `grep -q` leaves at the first match; a command before it that still writes dies of SIGPIPE, and pipefail calls that a failure.
pipes() { ! ours "$shell" | xargs -r grep -nE '[^|]\| *grep -[a-zA-Z]*q'; }

# A header stands alone if its source, which includes it before all else, compiles; one without a source is parsed here.
headers() {
  local header source first alone=() status=0
  while IFS= read -r header; do
    source=${header%.h}.cpp
    if [ ! -f "$source" ]; then
      alone+=("$header")
    elif first=$(grep -m1 '^#include' "$source") && [ "$first" != "#include \"$header\"" ]; then
      echo "$source: must include \"$header\" first"
      status=1
    fi
  done < <(ours '\.h$')
  local folders
  mapfile -t folders < <(grep -oh -e '-isystem [^ "]*' "$build/compile_commands.json" | sort -u | cut -d' ' -f2)
  printf '%s\0' "${alone[@]}" | xargs -0 -r -n 1 -P "$(nproc)" \
    c++ -std=c++20 -x c++ -w -fsyntax-only -I. -I"$build/generated" "${folders[@]/#/-isystem}" || status=1
  return "$status"
}

# "SOURCE HEADER..." per translation unit, ours only, from the dependencies that Ninja recorded.
units() {
  ninja -C "$build" -t deps | awk -v root="$root/" -v build="$build/" '
    function flush() { if (unit ~ /\.cpp/) print unit; unit = "" }
    /^[^ ]/ { flush() }
    # ccache may be set to record paths relative to the build folder.
    function absolute(path) {
      if (path ~ /^\//) return path
      path = build path
      while (sub(/[^\/]+\/\.\.\//, "", path)) {}
      return path
    }
    /^    / {
      path = absolute($1)
      if (index(path, root) == 1 && index(path, build) != 1) unit = unit (unit == "" ? "" : " ") substr(path, length(root) + 1)
    }
    END { flush() }' | sort -u
}

# Clang-tidy's plugin, built once. Without clang's headers there is none: the same findings, in four times the time.
make_plugin() {
  local include=/usr/lib/llvm-14/include source=tests/lint/own_code.cpp
  if [ ! -e "$include/clang/AST/ASTContext.h" ] || [ ! -e "$include/llvm/ADT/StringRef.h" ]; then
    echo "lint: libclang-14-dev or llvm-14-dev is not installed; clang-tidy will read all system headers"
    return 0
  fi
  plugin=$stamps/$(sha256sum "$source" | cut -c1-16).so
  [ -e "$plugin" ] || { g++ -std=c++17 -O1 -fno-rtti -fPIC -shared -isystem "$include" -o "$plugin.new" "$source" &&
    mv "$plugin.new" "$plugin"; }
}

# The plugin must leave clang-tidy's findings as they are.
plugin_agrees() {
  local with without
  [ -n "$plugin" ] || return 0
  sample() { clang-tidy-14 --quiet "$@" tests/lint/sample.cpp -- -std=c++20 2>/dev/null | grep -E ' (error|warning): '; }
  without=$(sample) || true
  with=$(sample --load="$plugin") || true
  [ -n "$without" ] && diff <(echo "$without") <(echo "$with")
}

tidy_unit() {
  local stamp
  stamp=$stamps/$(cat .clang-tidy "$@" | sha256sum | cut -c1-32).tidy
  [ ! -e "$stamp" ] || return 0
  # --quiet still counts suppressed warnings of other people's headers on stderr.
  clang-tidy-14 ${plugin:+"--load=$plugin"} --quiet --extra-arg=-Wno-unknown-warning-option -p "$build" "$1" 2>"$stamp.err" >"$stamp.out" && { rm -f "$stamp".*; touch "$stamp"; return 0; }
  cat "$stamp.out"
  grep -v 'warnings\? generated\|warnings treated as errors' "$stamp.err" || true
  rm -f "$stamp".*
  return 1
}
export -f tidy_unit
plugin=''
export stamps build plugin

tidy() {
  [ -n "$(units)" ] || { echo "no translation units of ours in $build"; return 1; }
  # shellcheck disable=SC2016  # the inner shell expands
  units | xargs -r -P "$(nproc)" -d '\n' -I{} bash -c 'IFS=" " read -ra unit <<<"$1"; tidy_unit "${unit[@]}"' _ {}
}

check "format" format
check "shell scripts" scripts
check "no pipe into grep -q" pipes
check "headers stand alone" headers
check "clang-tidy's plugin" make_plugin
check "clang-tidy's plugin changes no finding" plugin_agrees
check "clang-tidy" tidy
exit $status

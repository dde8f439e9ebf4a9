#!/bin/bash
# Installs what Trident needs from Debian's archive; does nothing, in no time, when everything is there.
#   launch/setup.sh [--check] [GROUP...]     groups as in launch/packages.txt; default: build
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
list=$root/launch/packages.txt

fail() {
  printf 'setup: error: %s\n' "$*" >&2
  exit 1
}

# Names of the packages in the given groups.
wanted() {
  awk -v groups=" $* " '
    { sub(/#.*/, "") }
    NF { group = NF > 1 ? $2 : "build"; if (index(groups, " " group " ")) print $1 }' "$list" | sort -u
}

missing() {
  local installed
  # dpkg-query prints what it knows and complains about the rest, which is how a missing one shows.
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | awk '$2 == "installed" {print $1}' || true)
  printf '%s\n' "$@" | grep -vxF -e "${installed:-/}" || true
}

# Runs apt-get quietly; its own words are shown only when it fails.
apt() {
  local log
  log=$(mktemp)
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

check_only=no
groups=()
for argument in "$@"; do
  case $argument in
    --check) check_only=yes ;;
    -h | --help)
      sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    build | data | tests | fuzz | interop | slurm) groups+=("$argument") ;;
    *) fail "unknown group '$argument'; groups are build, data, tests, fuzz, interop and slurm" ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build)

type apt-get dpkg-query >/dev/null 2>&1 ||
  fail "apt-get not found; this script serves Debian 12, elsewhere install the packages named in $list"

mapfile -t packages < <(wanted "${groups[@]}")
mapfile -t lacking < <(missing "${packages[@]}")
if [ ${#lacking[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} packages are installed (${groups[*]})"
  exit 0
fi
[ $check_only = no ] || fail "missing: ${lacking[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "not root and no sudo; as root: apt-get install ${lacking[*]}"
  sudo -n true 2>/dev/null || [ -t 0 ] || fail "sudo wants a password and there is no terminal; as root: apt-get install ${lacking[*]}"
  as_root=(sudo)
fi

echo "setup: installing ${#lacking[@]} of ${#packages[@]} packages: ${lacking[*]}"
apt update || fail "apt-get update failed (above); is the network or Debian's mirror reachable?"
unknown=()
for package in "${lacking[@]}"; do
  apt-cache show --no-all-versions "$package" >/dev/null 2>&1 || unknown+=("$package")
done
[ ${#unknown[@]} -eq 0 ] || fail "not in this machine's package lists: ${unknown[*]}; Debian 12 (bookworm, main) has them"
apt install -y --no-install-recommends "${lacking[@]}" ||
  fail "apt-get install failed (above); when it is put right, run this again"
echo "setup: done"

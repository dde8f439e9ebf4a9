#!/bin/bash
# Proves the two commands on a bare Debian 12: a minimal root file system in a folder, nothing of this machine in it
# but the checkout and the configuration of apt. Needs root, and debootstrap.
#
#   tests/bare_rootfs.sh [--keep] [setup|tests|quickstart]...     default: all three
#
#   --keep   leave the root file system where it is, for a look
#
# TMPDIR chooses where it is made (about 3 GB).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=bookworm
keep=no
parts=()

fail() {
  printf 'bare_rootfs: error: %s\n' "$*" >&2
  exit 1
}

for argument in "$@"; do
  case $argument in
    --keep) keep=yes ;;
    setup | tests | quickstart) parts+=("$argument") ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown argument '$argument'; see --help" ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=(setup tests quickstart)
[ "$(id -u)" -eq 0 ] || fail "run this as root: it makes a root file system and enters it"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"

# The mirror this machine uses, as apt itself understands its sources.
# shellcheck disable=SC2016  # apt expands these
mirror=$(apt-get indextargets --format '$(SITE)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
  awk -F'|' -v suite="$suite" '$2 == suite && $3 == "main" {print $1; exit}')
[ -n "$mirror" ] || fail "no apt source for $suite main on this machine"

target=$(mktemp -d --suffix=.trident-bare)
chmod 755 "$target" # tests that give up being root must still reach it
clean_up() {
  while mountpoint -q "$target"; do umount -R -l "$target"; done
  # --one-file-system: whatever could not be unmounted is not deleted through.
  if [ $keep = yes ]; then
    echo "bare_rootfs: kept $target"
  else
    rm -rf --one-file-system "$target"
  fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

copy_apt_configuration() {
  cp -a /etc/apt/. "$target/etc/apt/"
  # Hooks call programs that a bare system lacks; certificates are what the sources may need.
  rm -f "$target"/etc/apt/apt.conf.d/{50appstream,20packagekit,*listbugs*,*needrestart*}
  if [ -d /etc/ssl/certs ]; then
    mkdir -p "$target/etc/ssl"
    cp -aL /etc/ssl/certs "$target/etc/ssl/" 2>/dev/null || true
  fi
  cp -L /etc/resolv.conf /etc/hosts "$target/etc/" 2>/dev/null || true
}

copy_checkout() {
  mkdir -p "$target/trident"
  (cd "$root" && git -c safe.directory='*' ls-files -z --cached --others --exclude-standard) |
    while IFS= read -r -d '' file; do [ ! -e "$root/$file" ] || printf '%s\0' "$file"; done |
    tar -C "$root" --null -T - -cf - | tar -C "$target/trident" -xf -
}

inside() {
  local proxies=() name
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || proxies+=("$name=${!name}")
  done
  # From another folder than the checkout, with next to no environment: both must not matter.
  chroot "$target" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    ${proxies[@]+"${proxies[@]}"} /bin/bash -c 'cd / && exec "$@"' _ "$@"
}

# Where mpirun does not work the quick start says so and trains on one rank; here it must work.
quickstart_on_four_ranks() {
  inside /trident/launch/quickstart.sh --steps 20 | tee "$target/quickstart.log" &&
    grep -F 'bit for bit the one of a run without the kill' "$target/quickstart.log" &&
    grep -F 'ranks 4 | dp=2 tp=1 pp=2' "$target/trident/runs/quickstart/logs/rank_00000.log"
}

step() {
  local start=$SECONDS
  echo "bare_rootfs: $*"
  "$@" || fail "failed: $*"
  echo "bare_rootfs: took $((SECONDS - start)) s"
}

echo "bare_rootfs: making a minimal $suite in $target"
debootstrap --variant=minbase "$suite" "$target" "$mirror" >"$target.log" 2>&1 ||
  { tail -n 20 "$target.log" >&2; rm -f "$target.log"; fail "debootstrap failed"; }
rm -f "$target.log"
copy_apt_configuration
copy_checkout
mount --bind "$target" "$target" # a mount, as every root is: tests make namespaces of it
mount --make-private "$target"
mount -t proc proc "$target/proc"
mount -t sysfs -o ro sysfs "$target/sys" # mpirun counts cores there
mount --rbind /dev "$target/dev" && mount --make-rslave "$target/dev"

for part in "${parts[@]}"; do
  case $part in
    setup)
      step inside /trident/launch/setup.sh build data tests
      step inside /trident/launch/setup.sh --check build data tests
      ;;
    tests) step inside /trident/tests/run.sh --no-lint ;;
    quickstart) step quickstart_on_four_ranks ;;
  esac
done
echo "bare_rootfs: passed: ${parts[*]}"

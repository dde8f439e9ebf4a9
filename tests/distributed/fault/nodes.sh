# shellcheck shell=bash disable=SC2154
# Nodes on one machine, for tests that source this after fault.sh: each has a network, a host name and a /dev/shm of its
# own, and a cable to a switch. Exit 77 (skipped) where that cannot be had.
: "${work:?}"
skip() { echo "$(basename "$0"): $1: skipped"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "not root"
for tool in ip unshare nsenter; do
  command -v $tool >/dev/null || skip "no $tool"
done

mark=tri$$
subnet=10.213.78
switch=$mark-switch
trap 'remove_nodes; end_of_ranks; forget_shared; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# make_nodes NAME...: the first is .1, and so on. They know one another's names.
make_nodes() {
  local number=0 name
  ip netns add "$switch" 2>/dev/null || skip "no network namespaces here"
  ip -n "$switch" link add bridge type bridge 2>/dev/null || skip "no bridges here"
  ip -n "$switch" link set bridge up
  echo "127.0.0.1 localhost" >"$work/hosts"
  for name in "$@"; do
    number=$((number + 1))
    echo "$subnet.$number $name" >>"$work/hosts"
    ip netns add "$mark-$name"
    ip link add link0 netns "$mark-$name" type veth peer name "$name" netns "$switch" 2>/dev/null || skip "no veth devices here"
    ip -n "$switch" link set dev "$name" master bridge up
    ip -n "$mark-$name" address add "$subnet.$number/24" dev link0
    ip -n "$mark-$name" link set lo up
    ip -n "$mark-$name" link set link0 up
    power_on "$name"
  done
  # HOST COMMAND: what a remote shell does.
  cat >"$work/shell" <<SHELL
#!/bin/bash
host=\$1; shift
read -r target <"$work/holder.\$host" || exit 255
# A cut cable cuts a remote shell, too.
ip netns exec "$switch" grep -q 1 "/sys/class/net/\$host/carrier" 2>/dev/null || exit 255
exec nsenter --target "\$target" --mount --uts --net bash -c "\$*"
SHELL
  chmod +x "$work/shell"
}

# power_on NAME: a process that keeps the node's mounts and name; its /dev/shm is new.
power_on() {
  # shellcheck disable=SC2016  # the inner shell expands
  ip netns exec "$mark-$1" unshare --mount --uts bash -c '
    hostname "$0" && mount --make-rprivate / && mount -t tmpfs tmpfs /dev/shm && mount --bind "$1" /etc/hosts &&
    echo $$ >"$2" && exec sleep 10000' "$1" "$work/hosts" "$work/holder.$1" &
  disown
  local waited=0
  until [ -s "$work/holder.$1" ] || [ $waited -gt 50 ]; do sleep 0.05; waited=$((waited + 1)); done
  [ -s "$work/holder.$1" ] || skip "no mounts of one's own here"
}

# power_off NAME: nothing of it is left, and nothing is said.
power_off() {
  cut_cable "$1"
  rm -f "$work/holder.$1"
  local pid
  for pid in $(ip netns pids "$mark-$1"); do kill -KILL "$pid" 2>/dev/null || true; done
}

on() { nsenter --target "$(cat "$work/holder.$1")" --mount --uts --net --wdns="$PWD" "${@:2}"; }
cut_cable() { ip -n "$switch" link set dev "$1" down; }
mend_cable() { ip -n "$switch" link set dev "$1" up; }
# What the node FROM sends to TO is lost; what it receives is not.
cut_one_way() { ip -n "$mark-$1" neigh replace "$2" lladdr 02:00:00:00:00:99 dev link0 nud permanent; }
mend_one_way() { ip -n "$mark-$1" neigh del "$2" dev link0; }

remove_nodes() {
  local name pid
  for name in $(ip netns list 2>/dev/null | grep -oE "^$mark-[a-z0-9]*"); do
    for pid in $(ip netns pids "$name" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
    ip netns delete "$name" 2>/dev/null || true
  done
}

# hostfile SLOTS NAME...
hostfile() {
  local slots=$1 name
  shift
  for name in "$@"; do echo "$name slots=$slots"; done >"$work/hostfile"
}

# start_on NODE NAME WORDS...: the job, coordinated from that node.
verb=(launch)
start_on() {
  local node=$1 name=$2
  shift 2
  timeout --kill-after=5 "${watchdog_s:-120}" nsenter --target "$(cat "$work/holder.$node")" --mount --uts --net --wdns="$PWD" \
    "$program" "${verb[@]}" job.yaml run.name="$name" "${job[@]}" --hostfile hostfile --remote-shell "$work/shell" \
    --mpirun=--oversubscribe "$@" 2>>"$name.log" &
  watchdog=$!
}
# The same under the faults of NAME.yaml.
start_chaos_on() {
  local verb=(chaos "$2.yaml")
  start_on "$@"
}
launch_on() {
  local status=0
  start_on "$@"
  wait "$watchdog" || status=$?
  return $status
}

# agent_of NODE: the process of the agent there; its janitor, which looks the same, is younger.
agent_of() {
  local pid
  for pid in $(ip netns pids "$mark-$1" | sort -n); do
    [[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) != *"/trident agent "* ]] || { echo "$pid"; return; }
  done
}

# nothing_left NAME NODE...: no process of the job on these nodes, no names in their /dev/shm.
nothing_left() {
  local name=$1 node waited left
  shift
  for node in "$@"; do
    waited=0
    while left=$(jobs_on "$node") && [ -n "$left" ] && [ $waited -lt 50 ]; do sleep 0.1; waited=$((waited + 1)); done
    [ -z "$left" ] || report "$name: processes are left on $node: $left"
    left=$(on "$node" find /dev/shm -name 'trident*' | tr '\n' ' ')
    [ -z "$left" ] || report "$name: left in /dev/shm of $node: $left"
  done
}
jobs_on() {
  local pid
  for pid in $(ip netns pids "$mark-$1"); do
    case "$(cat "/proc/$pid/comm" 2>/dev/null)" in trident | orted | mpirun) echo "$pid" ;; esac
  done
}
# The ranks' processes there.
ranks_on() {
  local pid
  for pid in $(ip netns pids "$mark-$1"); do
    [[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) != *"/trident train "* ]] || echo "$pid"
  done
}

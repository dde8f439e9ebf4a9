#!/bin/bash
# Runs the suite of mpi_ranks.cpp on two nodes that are network namespaces, joined by a pair of virtual Ethernet devices:
# what the nodes say to each other crosses a network interface. Exit 77 (skipped) where root, ip netns or mpirun lack.
#   netns_test.sh PROGRAM RANKS_PER_NODE
set -euo pipefail
program=$(realpath "$1") ranks=$2
skip() { echo "netns_test: $1: skipped"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "not root"
for tool in ip mpirun unshare; do
  command -v $tool >/dev/null || skip "no $tool"
done

first=trident-$$-a second=trident-$$-b
scratch=$(mktemp -d)
output=$scratch/output
remove() {
  local name
  for name in "$first" "$second"; do
    ip netns pids "$name" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns delete "$name" 2>/dev/null || true
  done
  rm -rf "$scratch"
}
trap remove EXIT
trap 'exit 1' INT TERM
fail() { cat "$output"; echo "netns_test: $1"; exit 1; }

ip netns add "$first" 2>/dev/null || skip "no network namespaces here"
ip netns add "$second"
ip link add link0 netns "$first" type veth peer name link0 netns "$second" 2>/dev/null || skip "no veth devices here"
ip -n "$first" address add 10.213.77.1/24 dev link0
ip -n "$second" address add 10.213.77.2/24 dev link0
for name in "$first" "$second"; do
  ip -n "$name" link set lo up
  ip -n "$name" link set link0 up
done

# What Open MPI takes for a remote shell: HOST COMMAND... Each node has a host name of its own.
enter=$scratch/enter
cat >"$enter" <<'AGENT'
#!/bin/bash
name=$1; shift
exec ip netns exec "$name" unshare --uts bash -c 'hostname "$0" && eval "$*"' "$name" "$@"
AGENT
chmod +x "$enter"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_base_warn_component_unused=0
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,vader,self OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_agent=$enter
export OMPI_MCA_oob_tcp_if_include=link0 OMPI_MCA_btl_tcp_if_include=link0
status=0
timeout --kill-after=5 120 "$enter" "$first" mpirun --oversubscribe --host "$first:$ranks,$second:$ranks" \
  -n $((2 * ranks)) "$program" >"$output" 2>&1 || status=$?
[ $status -eq 0 ] || fail "the suite failed between two namespaces"
grep -q 'PASSED' "$output" || fail "no test ran"

# Without this the ranks might have found a shorter way.
sent=$(ip netns exec "$first" cat /sys/class/net/link0/statistics/tx_bytes)
[ "$sent" -gt $((10 << 20)) ] || fail "only $sent bytes crossed the interface"
largest=$(sed -n 's/^largest message: \([0-9]*\) bytes$/\1/p' "$output" | sort -n | tail -n 1)
[ -n "$largest" ] || fail "the ranks do not say how large their messages were"
[ "$largest" -le $((1 << 20)) ] || fail "a message had $largest bytes, more than 1 MiB"
echo "netns_test: suite on 2 nodes of $ranks ok, $sent bytes sent, the largest message $largest"

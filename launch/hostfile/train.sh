#!/bin/bash
# Trains a job on the machines of a hostfile, one rank a slot: `trident train` under mpirun, over ssh.
#
#   launch/hostfile/train.sh HOSTFILE JOB.yaml [key=value ...]
#
# The hostfile is Open MPI's: a line `node01 slots=8` for each machine. Program, job, data and run folder have the same
# paths on all of them, and ssh asks for no password. SIGTERM, SIGUSR1 or Ctrl-C: the ranks save at the end of the step,
# exit code 75. The same command goes on from the newest checkpoint.
#
# TRIDENT  the program (default: build/trident in the checkout)
set -uo pipefail
trident=${TRIDENT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/trident}
[ $# -ge 2 ] || { echo "usage: launch/hostfile/train.sh HOSTFILE JOB.yaml [key=value ...]" >&2; exit 64; }
[ -r "$1" ] || { echo "train.sh: error: cannot read the hostfile $1" >&2; exit 66; }

# As `trident launch` starts ranks: over TCP and shared memory alone, and with keepalive a node that is cut off ends the job
# in ten seconds, not in eight minutes.
set -m # a process group of its own: Ctrl-C is this script's to pass on
mpirun --hostfile "$1" --bind-to none --mca pml ob1 \
  --mca oob_tcp_keepalive_time 1 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 9 \
  "$trident" train "${@:2}" </dev/null &
training=$!
set +m

# mpirun passes SIGUSR1 on and waits; after SIGTERM it would kill the ranks before they have saved.
trap 'kill -USR1 "$training"' TERM USR1 INT
wait "$training"
status=$?
while [ $status -gt 128 ] && kill -0 "$training" 2>/dev/null; do # a signal was for this script
  wait "$training"
  status=$?
done
exit $status

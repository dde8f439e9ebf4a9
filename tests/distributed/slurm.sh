# shellcheck shell=bash
# A Slurm of two nodes, n1 and n2, on this machine, for tests that source this: start_slurm, end_slurm. All that it needs
# and leaves is in the folder `slurm`; exit 77 (skipped) where its programs are missing.
: "${work:?}"
PATH=$PATH:/usr/sbin
for needed in munged slurmctld slurmd sbatch; do
  command -v "$needed" >/dev/null || { echo "no $needed (launch/setup.sh slurm installs it): skipped"; exit 77; }
done
slurm=$work/slurm
export SLURM_CONF=$slurm/slurm.conf
slurm_daemons=()

# Three neighbouring ports that nobody listens at.
slurm_port() {
  local port=$((20000 + RANDOM % 9000)) next
  for next in 0 1 2; do
    ! (: <"/dev/tcp/127.0.0.1/$((port + next))") 2>/dev/null || { slurm_port; return; }
  done
  echo "$port"
}

write_slurm_conf() {
  local port host
  port=$(slurm_port) host=$(hostname -s)
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$slurm/munge/socket
CredType=cred/munge
SlurmctldPort=$port
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool-%n
TmpFS=$slurm/tmp-%n
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd-%n.pid
SlurmctldLogFile=$slurm/slurmctld.log
SlurmdLogFile=$slurm/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=4
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=4
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=2
CONF
}

# daemon LOG COMMAND...: in the background; ended by end_slurm.
daemon() {
  "${@:2}" >"$slurm/$1.out" 2>&1 &
  slurm_daemons+=($!)
}

start_slurm() {
  local waited=0 node
  mkdir -p "$slurm"/{munge,state,{spool,tmp}-n{1,2}}
  head -c 128 /dev/urandom >"$slurm/munge/key"
  chmod 400 "$slurm/munge/key"
  write_slurm_conf
  # --force: folders that others may not enter suffice for a socket of one user.
  daemon munged munged --foreground --force --key-file="$slurm/munge/key" --socket="$slurm/munge/socket" \
    --pid-file="$slurm/munge/pid" --log-file="$slurm/munge/log" --seed-file="$slurm/munge/seed"
  until [ -S "$slurm/munge/socket" ] || [ $waited -ge 100 ]; do sleep 0.1; waited=$((waited + 1)); done
  daemon slurmctld slurmctld -D -i
  for node in n1 n2; do daemon "slurmd-$node" slurmd -D -N "$node"; done
  until [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ]; do
    [ $waited -lt 300 ] || { echo "Slurm does not start here: skipped"; tail -n 5 "$slurm"/*.out; exit 77; }
    sleep 0.1
    waited=$((waited + 1))
  done
}

end_slurm() {
  local daemon
  [ ${#slurm_daemons[@]} -gt 0 ] || return 0
  scancel --me 2>/dev/null || true
  # In the reverse order: Slurm's daemons end by way of munged.
  for ((daemon = ${#slurm_daemons[@]} - 1; daemon >= 0; daemon--)); do
    kill "${slurm_daemons[daemon]}" 2>/dev/null || true
    wait "${slurm_daemons[daemon]}" 2>/dev/null || true
  done
  slurm_daemons=()
}

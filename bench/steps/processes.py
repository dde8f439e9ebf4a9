"""The processes of one sample: what was started and everything that it started, under mpirun or not."""
import os
import pathlib
import signal
import subprocess
import time
import uuid

TICKS = os.sysconf("SC_CLK_TCK")
MARK = "TRIDENT_BENCH_SAMPLE"
RANK = b"OMPI_COMM_WORLD_RANK="
GRACE_SECONDS = 10  # for a launcher to clear up after its ranks


class Group:
    """Processes that carry one mark in their environment: a rank under mpirun has a process group of its own, and a
    parent that may be gone."""

    def __init__(self):
        self.mark = {MARK: uuid.uuid4().hex}

    def members(self):
        """pid: rank, None for a launcher. Without a launcher every process counts as rank 0."""
        wanted = f"{MARK}={self.mark[MARK]}".encode()
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # ended, or not ours to read
            if wanted in variables:
                ranks = [int(one.partition(b"=")[2]) for one in variables if one.startswith(RANK)]
                found[int(folder.name)] = ranks[0] if ranks else None
        return found if set(found.values()) - {None} else dict.fromkeys(found, 0)

    def ranks(self):
        """The ranks' pids, in their order."""
        members = self.members()
        return sorted((pid for pid in members if members[pid] is not None), key=members.get)

    def seconds(self):
        """Processor time of all that still run."""
        return sum(processor_seconds(pid) for pid in self.members())

    def peaks_mib(self):
        """Peak resident memory of each rank. Pages that ranks share count in each."""
        return [peak_kib(pid) / 1024 for pid in self.ranks()]

    def end(self, process):
        """Ends the ranks, lets the launcher `process` clear up, ends what is left."""
        kill(self.ranks())
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        deadline = time.monotonic() + GRACE_SECONDS
        while left := self.members():
            kill(left)
            process.poll()
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes {sorted(left)} do not end")
            time.sleep(0.01)
        process.wait()


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def processor_seconds(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_kib(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)

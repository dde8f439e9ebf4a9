"""One sample: a training process that is watched from outside, step by step, and ended after its last step."""
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.005
IGNORED_WITHIN = 0.15  # cores that other programs may use in a quiet sample


@dataclasses.dataclass
class Sample:
    tokens_per_s: float  # by the median step
    tokens_per_cpu_s: float  # by the processor time of all timed steps
    first_step_s: float  # from the start of the process to the end of its first step
    peak_mib: float
    others: float  # cores that other programs used during the timed steps

    @property
    def quiet(self):
        return self.others < IGNORED_WITHIN


def machine_seconds():
    """Processor time that the whole machine has used, without idling, waiting and what the hypervisor took."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def process_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclasses.dataclass
class Moment:
    wall: float
    machine: float
    stolen: float
    process: float


def moment(pid):
    machine, stolen = machine_seconds()
    return Moment(time.monotonic(), machine, stolen, process_seconds(pid))


class Lines:
    """The complete lines that a growing file has got since the last look; the file may not exist yet."""

    def __init__(self, path):
        self.path, self.offset = path, 0

    def read(self):
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self.offset += len(text)
        return text.decode().splitlines()


def run(command, environment, output, steps_file, tokens, warm_up, steps, limit_s=900):
    """Starts `command`, which appends a JSON object with step_s to `steps_file` after every step. What it prints goes to
    `output`, which may be the same file."""
    with open(output, "wb") as log:
        start = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    killer = threading.Timer(limit_s, os.kill, (process.pid, signal.SIGKILL))
    killer.start()
    lines, seconds, moments = Lines(steps_file), [], []
    first = None
    try:
        while len(seconds) < warm_up + steps:
            ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            for line in lines.read():
                if not line.startswith("{"):
                    continue
                seconds.append(json.loads(line)["step_s"])
                first = first or time.monotonic() - start
                if len(seconds) in (warm_up, warm_up + steps):
                    moments.append(moment(process.pid))
            if ended and len(seconds) < warm_up + steps:
                raise RuntimeError(f"{' '.join(map(str, command))} ended early:\n{output.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)
    finally:
        killer.cancel()
        os.kill(process.pid, signal.SIGKILL)  # what a program does after its last step is not measured
        usage = os.wait4(process.pid, 0)[2]
        process.returncode = 0
    return summary(seconds[warm_up : warm_up + steps], moments, first, usage, tokens)


def summary(seconds, moments, first, usage, tokens):
    before, after = moments[0], moments[-1]
    wall = after.wall - before.wall
    own = after.process - before.process
    others = after.machine - before.machine - own + after.stolen - before.stolen
    return Sample(
        tokens_per_s=tokens / statistics.median(seconds),
        tokens_per_cpu_s=tokens * len(seconds) / max(own, 1e-9),
        first_step_s=first,
        peak_mib=usage.ru_maxrss / 1024,
        others=max(0.0, others / wall),
    )

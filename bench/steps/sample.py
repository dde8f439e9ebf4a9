"""One sample: training processes that are watched from outside, step by step, and ended after their last step."""
import dataclasses
import json
import os
import statistics
import subprocess
import time

import processes

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.005
IGNORED_WITHIN = 0.15  # cores that other programs may use in a quiet sample


@dataclasses.dataclass
class Sample:
    tokens_per_s: float  # by the median step
    tokens_per_cpu_s: float  # by the processor time of all timed steps, of all ranks
    first_step_s: float  # from the start of the process to the end of its first step
    peaks_mib: list  # by rank
    others: float  # cores that other programs used during the timed steps

    @property
    def peak_mib(self):
        return max(self.peaks_mib)

    @property
    def quiet(self):
        return self.others < IGNORED_WITHIN


def machine_seconds():
    """Processor time that the whole machine has used, without idling, waiting and what the hypervisor took."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


@dataclasses.dataclass
class Moment:
    wall: float
    machine: float
    stolen: float
    own: float


def moment(group):
    machine, stolen = machine_seconds()
    return Moment(time.monotonic(), machine, stolen, group.seconds())


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


def launch(start, group):
    environment = start.environment | group.mark
    with open(start.output, "wb") as log:
        return subprocess.Popen(
            start.command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )


def run(start, tokens, warm_up, steps, limit_s=900):
    """Starts a programs.Start, which appends a JSON object with step_s to its file after every step. Nothing that it
    started outlives the call."""
    group = processes.Group()
    lines, seconds, moments = Lines(start.steps_file), [], []
    first = None
    began = time.monotonic()
    process = launch(start, group)
    try:
        while len(seconds) < warm_up + steps:
            ended = process.poll() is not None or time.monotonic() > began + limit_s
            for line in lines.read():
                if not line.startswith("{"):
                    continue
                seconds.append(json.loads(line)["step_s"])
                first = first or time.monotonic() - began
                if len(seconds) in (warm_up, warm_up + steps):
                    moments.append(moment(group))
            if ended and len(seconds) < warm_up + steps:
                raise RuntimeError(f"{' '.join(start.command)} {explain(process, limit_s)}:\n"
                                   f"{start.output.read_text(errors='replace')[-2000:]}")  # fmt: skip
            time.sleep(POLL_SECONDS)
        peaks_mib = group.peaks_mib()
    finally:
        group.end(process)  # what a program does after its last step is not measured
    return summary(seconds[warm_up : warm_up + steps], moments, first, peaks_mib, tokens)


def explain(process, limit_s):
    return f"took more than {limit_s} s" if process.returncode is None else "ended early"


def summary(seconds, moments, first, peaks_mib, tokens):
    before, after = moments[0], moments[-1]
    wall = after.wall - before.wall
    own = after.own - before.own
    others = after.machine - before.machine - own + after.stolen - before.stolen
    return Sample(
        tokens_per_s=tokens / statistics.median(seconds),
        tokens_per_cpu_s=tokens * len(seconds) / max(own, 1e-9),
        first_step_s=first,
        peaks_mib=peaks_mib,
        others=max(0.0, others / wall),
    )

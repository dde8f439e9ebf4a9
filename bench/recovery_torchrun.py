#!/usr/bin/env python3
"""The same fault under `trident launch` and under `torchrun --max-restarts`: one rank of four gets SIGKILL.

Both train GPT-2 S on four ranks of one thread with the same batch; one job runs at a time, a new one for every fault, and
they take turns. Times are from the signal, as a watcher outside sees them: to the verdict's line in events.jsonl, or the
line in which torchrun's agent tells of the failure; and to the first step of the next start. PyTorch saves its state with
torch.save every --torch-save steps, Trident as it does by default: in memory every step, on disk every 100.

Then a rank is stopped (SIGSTOP) once under each, and watched for --hang-limit seconds.

    bench/recovery_torchrun.py [--rounds 5] [--python /usr/bin/python3] [--hang-limit 60]
"""
import argparse
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import recovery

sys.path.insert(0, str(recovery.HERE / "steps"))
import models  # noqa: E402
from needs import need  # noqa: E402
from processes import Group  # noqa: E402
from programs import describe  # noqa: E402

RANKS = 4
# What torchrun's agent says first when a worker has died.
NOTICED = ("failed (exitcode", "closing signal")
# Seconds between torchrun's looks at its workers; a fault comes at any moment between two.
LOOKS_EVERY_S = 5


class Torchrun:
    """A job under torchrun, with what recovery.one_fault asks of a run."""

    def __init__(self, options, folder, name, interval):
        self.folder = folder / name
        self.folder.mkdir()
        self.group = Group()
        words = [options.python, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={RANKS}"]
        words += ["--max_restarts=100"] + ([f"--monitor_interval={interval}"] if interval else [])
        # PyTorch 1.13's defaults of these do not work with Python 3.11.
        words += ["--redirects=0:1", "--tee=0:1", f"--log_dir={self.folder / 'logs'}"]
        words += [str(recovery.HERE / "steps" / "torch_elastic.py"), options.model, str(self.folder), str(options.torch_save)]
        environment = dict(os.environ, **self.group.mark, OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
        self.log = open(folder / f"{name}.log", "w", encoding="utf-8")
        self.agent = subprocess.Popen(words, env=environment, stdout=self.log, stderr=self.log)

    def steps(self, attempt):
        return [row for row in recovery.rows(self.folder / "metrics.jsonl") if row["attempt"] == attempt]

    def events(self, kind):
        assert kind == "verdict"
        text = pathlib.Path(self.log.name).read_text(encoding="utf-8")
        return [{"rank": None}] if any(words in text for words in NOTICED) else []

    def gang(self):
        for epoch in (2, 1):
            files = [self.folder / f"pid.{epoch}.{rank}" for rank in range(RANKS)]
            if all(file.exists() and file.read_text() for file in files):
                return {"epoch": epoch, "pids": [int(file.read_text()) for file in files]}
        return None

    def end(self):
        self.group.end(self.agent)
        self.log.close()


class Trident(recovery.Run):
    def __init__(self, options, folder, name):
        super().__init__(argparse.Namespace(build=options.build, ranks=RANKS, checkpoint=100), folder, name)


def programs(options):
    """Name, and what starts a job of that name in a folder."""
    yield "trident launch", lambda folder, name: Trident(options, folder, name)
    yield "torchrun", lambda folder, name: Torchrun(options, folder, name, None)
    yield "torchrun, monitor_interval 0.1", lambda folder, name: Torchrun(options, folder, name, 0.1)


def end(run):
    if run.agent.poll() is None:
        run.end()


def stopped(options, run):
    """Seconds after which the stop of a rank was noticed, None if not within the limit."""
    recovery.wait_for(run, lambda: len(run.steps(1)) >= 5)
    os.kill(recovery.wait_for(run, run.gang)[0]["pids"][RANKS - 2], signal.SIGSTOP)
    begun = time.monotonic()
    while time.monotonic() - begun < options.hang_limit:
        if run.events("verdict"):
            return time.monotonic() - begun
        time.sleep(recovery.POLL_S)
    return None


def show(name, what, values):
    print(f"{name:32} {what:15} median {statistics.median(values):6.2f} s   least {min(values):6.2f}   "
          f"most {max(values):6.2f}   of {len(values)}", flush=True)


def crashes(options, folder):
    results, chance = {}, random.Random(options.seed)
    for turn in range(options.rounds):
        victim = chance.randrange(RANKS)
        for number, (name, start) in enumerate(programs(options)):
            run = start(folder, f"crash{turn}.{number}")
            try:
                recovery.wait_for(run, lambda: len(run.steps(1)) >= 5)
                time.sleep(chance.uniform(0, LOOKS_EVERY_S))
                results.setdefault(name, []).append(recovery.one_fault(run, victim, signal.SIGKILL))
            finally:
                end(run)
    for name, times in results.items():
        show(name, "detected", [each[0] for each in times])
        show(name, "first new step", [each[1] for each in times])


def hangs(options, folder):
    for number, (name, start) in enumerate(programs(options)):
        if name.startswith("torchrun,"):
            continue  # how often it looks whether processes live does not matter here
        run = start(folder, f"hang{number}")
        try:
            noticed = stopped(options, run)
        finally:
            end(run)
        words = f"noticed after {noticed:.2f} s" if noticed else f"not noticed within {options.hang_limit:.0f} s"
        print(f"{name:32} stopped rank    {words}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=models.MODELS, default="S")
    parser.add_argument("--torch-save", type=int, default=10, help="steps between PyTorch's saves")
    parser.add_argument("--python", default="/usr/bin/python3", help="the Python that has PyTorch")
    parser.add_argument("--hang-limit", type=float, default=60)
    parser.add_argument("--only", choices=("crash", "hang"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", type=pathlib.Path, default=recovery.HERE.parent / "build")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended first
    need(options.build / "trident", "mpirun", options.python)
    version = describe(options.python)
    if not version:
        sys.exit(f"recovery_torchrun.py: {options.python} has no PyTorch (python3-torch); --python names one that has")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        recovery.write_job(models.MODELS[options.model], folder)
        print(f"model {options.model}, {RANKS} ranks of one thread, {os.cpu_count()} processors, PyTorch {version}")
        if options.only in (None, "crash"):
            crashes(options, folder)
        if options.only in (None, "hang"):
            hangs(options, folder)


if __name__ == "__main__":
    main()

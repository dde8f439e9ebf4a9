"""Rounds of samples: every round runs every program once, so that a machine that drifts, drifts for all."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile

import machine
import models
import programs
import sample

HERE = pathlib.Path(__file__).resolve().parent


def parser(description):
    """The options that all comparisons have."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--models", default="S,M,L")
    result.add_argument("--rounds", type=int, default=5)
    result.add_argument("--retries", type=int, default=1, help="of a sample that was disturbed")
    result.add_argument("--steps", type=int, help="timed in a sample; default: by model")
    build = os.environ.get("TRIDENT_BUILD_DIR", str(HERE.parent.parent / "build"))
    result.add_argument("--build", type=lambda text: pathlib.Path(text).resolve(), default=build)
    result.add_argument("--debian-python", default="/usr/bin/python3")
    result.add_argument("--newest-python", default="")
    result.add_argument("--nice", type=int, default=0, help="of every measured process; below 0 needs root")
    result.add_argument("--json", help="write every sample to this file")
    return result


def measure(program, build, model, threads, steps, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    start = programs.prepare(program, build / "trident", model, threads, models.WARM_UP + steps, folder)
    start.environment["XDG_CACHE_HOME"] = str(folder.parent / f"cache-{model.name}-{threads}")
    return sample.run(start, model.tokens, models.WARM_UP, steps)


def quietest(take, retries):
    """Samples until one is quiet; if none is, the least disturbed."""
    taken = []
    for _ in range(1 + retries):
        taken.append(take())
        if taken[-1].quiet:
            break
    return min(taken, key=lambda one: one.others)


class Cell:
    """The samples of one model on one number of threads a rank."""

    def __init__(self, model, threads, names):
        self.model, self.threads = model, threads
        self.samples = {name: [] for name in names}
        self.peaks = []

    def values(self, name, field):
        return [getattr(one, field) for one in self.samples[name]]

    def median(self, name, field):
        return statistics.median(self.values(name, field))

    def peak(self, field):
        return max(peak[field] for peak in self.peaks) * 1e9

    def ratio(self, one, other, field):
        """`one` over `other`, round by round."""
        return statistics.median(a / b for a, b in zip(self.values(one, field), self.values(other, field)))

    def best(self, names, field):
        return max(names, key=lambda name: self.median(name, field), default=None)

    def quiet(self, name):
        return f"{sum(self.values(name, 'quiet'))}/{len(self.samples[name])}"

    def as_json(self):
        samples = {name: [vars(one) for one in taken] for name, taken in self.samples.items()}
        return {"model": self.model.name, "threads": self.threads, "peaks": self.peaks, "samples": samples}


def fill(cell, options, contenders, cores, folder):
    """Runs the rounds of a cell; `cores`: whose peak is measured between the samples."""
    steps = options.steps or cell.model.steps
    for _ in range(options.rounds):
        cell.peaks.append(machine.fma_peak(options.build, cores))
        for program in contenders:
            cell.samples[program.name].append(
                quietest(
                    lambda which=program: measure(
                        which, options.build, cell.model, cell.threads, steps, folder / "sample"
                    ),
                    options.retries,
                )
            )


def verdict(value, must, stretch, more_is_better=True):
    def reached(goal):
        return value >= goal if more_is_better else value <= goal

    word = "stretch" if stretch is not None and reached(stretch) else "must" if reached(must) else "MISSED"
    goals = f"{must:g}" if stretch is None else f"{must:g} / {stretch:g}"
    return f"{value:7.3f}  goal {goals:12} {word}"


def run(options, compare):
    """`compare(folder)` returns the cells, having printed each; what it starts ends with this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.nice:
        machine.prefer(options.nice)
    machine.describe((options.debian_python, options.newest_python))
    for python in ("debian_python", "newest_python"):
        if not programs.describe(getattr(options, python)):
            setattr(options, python, "")
    with tempfile.TemporaryDirectory(prefix="trident-bench-") as folder:
        cells = compare(pathlib.Path(folder))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps([cell.as_json() for cell in cells], indent=1))
    return cells

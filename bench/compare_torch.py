#!/usr/bin/env python3
"""Training speed, memory and start of Trident beside PyTorch's, on the CPU, in one interleaved run.

    bench/compare_torch.py [--models S,M,L] [--threads 1,2] [--rounds 5] [--build build] [--json FILE]
                           [--debian-python /usr/bin/python3] [--newest-python VENV/bin/python]

Every round runs every program once, each in a fresh process, and measures the processor's peak between them; so a
machine that drifts, drifts for all. A sample is quiet when other programs used less than 0.15 cores while it was timed;
one that is not is repeated up to --retries times. Ratios are medians of the rounds' own ratios. bench/README.md
explains the columns.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "steps"))

import models  # noqa: E402
import programs  # noqa: E402
import sample  # noqa: E402

# (must, stretch) of docs/measurements/cpu-steps.md
SPEED_GOALS = {
    ("S", 1): (1.15, 1.3), ("M", 1): (1.1, 1.25), ("L", 1): (1.1, 1.2),
    ("S", 2): (1.15, 1.35), ("M", 2): (1.1, 1.25), ("L", 2): (1.1, 1.25),
}  # fmt: skip
PEAK_GOALS = {"S": (0.54, 0.64), "M": (0.62, 0.70), "L": (0.62, 0.72)}
MEMORY_GOALS = {"S": 0.5, "M": 0.6, "L": 0.75}
START_GOALS = {"S": 0.8, "M": 3.5, "L": 9.0}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="S,M,L")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--retries", type=int, default=1, help="of a sample that was disturbed")
    parser.add_argument("--steps", type=int, help="timed in a sample; default: by model")
    parser.add_argument("--build", default=os.environ.get("TRIDENT_BUILD_DIR", str(HERE.parent / "build")))
    parser.add_argument("--debian-python", default="/usr/bin/python3")
    parser.add_argument("--newest-python", default="")
    parser.add_argument("--nice", type=int, default=0, help="of every measured process; below 0 needs root")
    parser.add_argument("--json", help="write every sample to this file")
    return parser.parse_args()


def measure(program, trident, model, threads, steps, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command, output, steps_file = programs.prepare(program, trident, model, threads, models.WARM_UP + steps, folder)
    environment = program.environ() | {"XDG_CACHE_HOME": str(folder.parent / f"cache-{model.name}-{threads}")}
    return sample.run(command, environment, output, steps_file, model.tokens, models.WARM_UP, steps)


def quietest(take, retries):
    """Samples until one is quiet; if none is, the least disturbed."""
    taken = []
    for _ in range(1 + retries):
        taken.append(take())
        if taken[-1].quiet:
            break
    return min(taken, key=lambda one: one.others)


def fma_peak(build, threads):
    output = subprocess.run([build / "bench" / "fma_peak", str(threads), "3"], capture_output=True, check=True).stdout
    return json.loads(output)


class Cell:
    """The samples of one model on one number of threads."""

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

    def ratio(self, name, field):
        """Trident over `name`, round by round."""
        return statistics.median(
            own / other for own, other in zip(self.values("trident", field), self.values(name, field))
        )

    def rivals(self):
        return [name for name in self.samples if name != "trident"]

    def best_rival(self, field, but=()):
        return max(set(self.rivals()) - set(but), key=lambda name: self.median(name, field), default=None)

    def print(self):
        flops = self.model.flops_per_token
        peaks = f"{self.peak('gflops') / 1e9:.0f} ({self.peak('gflops_cpu') / 1e9:.0f})"
        print(f"\n{self.model.name}, {self.threads} thread{'s' * (self.threads > 1)}: {flops / 1e6:.1f} MFLOP a token, "
              f"peak {peaks} GFLOP/s by wall (processor) time")  # fmt: skip
        print(f"  {'':28} {'tok/s':>8} {'of peak':>8} {'ratio':>6} | {'tok/cpu-s':>9} {'of peak':>8} {'ratio':>6} |"
              f" {'MiB':>6} {'start s':>7} {'others':>6} {'quiet':>6}")  # fmt: skip
        for name in self.samples:
            wall, cpu = self.median(name, "tokens_per_s"), self.median(name, "tokens_per_cpu_s") * self.threads
            quiet = f"{sum(self.values(name, 'quiet'))}/{len(self.samples[name])}"
            print(f"  {name:28} {wall:8.0f} {wall * flops / self.peak('gflops'):8.3f} "
                  f"{self.ratio(name, 'tokens_per_s'):6.2f} | {cpu:9.0f} {cpu * flops / self.peak('gflops_cpu'):8.3f} "
                  f"{self.ratio(name, 'tokens_per_cpu_s'):6.2f} | {self.median(name, 'peak_mib'):6.0f} "
                  f"{self.median(name, 'first_step_s'):7.2f} {self.median(name, 'others'):6.2f} {quiet:>6}")  # fmt: skip
        sys.stdout.flush()


def measure_cell(options, model, threads, rivals, folder):
    build = pathlib.Path(options.build).resolve()
    cell = Cell(model, threads, [program.name for program in rivals])
    steps = options.steps or model.steps
    for _ in range(options.rounds):
        cell.peaks.append(fma_peak(build, threads))
        for program in rivals:
            one = quietest(
                lambda which=program: measure(which, build / "trident", model, threads, steps, folder / "sample"),
                options.retries,
            )
            cell.samples[program.name].append(one)
    return cell


def verdict(value, must, stretch, more_is_better=True):
    def reached(goal):
        return value >= goal if more_is_better else value <= goal

    word = "stretch" if stretch is not None and reached(stretch) else "must" if reached(must) else "MISSED"
    goals = f"{must:g}" if stretch is None else f"{must:g} / {stretch:g}"
    return f"{value:7.3f}  goal {goals:12} {word}"


def print_goals(cells):
    print("\nGoals (by wall time; in brackets by processor time)")
    for cell in cells:
        name, threads = cell.model.name, cell.threads
        for but in ((programs.PATCHED,), ()):  # PyTorch's own settings; then also with MKL overridden
            rival = cell.best_rival("tokens_per_s", but)
            if rival and (but or rival == programs.PATCHED):
                cpu = cell.ratio(cell.best_rival("tokens_per_cpu_s", but), "tokens_per_cpu_s")
                line = verdict(cell.ratio(rival, "tokens_per_s"), *SPEED_GOALS[name, threads])
                print(f"  {name} {threads}T over best PyTorch ({rival}): {line} ({cpu:.3f})")
        if threads == 2:
            flops = cell.model.flops_per_token
            wall = cell.median("trident", "tokens_per_s") * flops / cell.peak("gflops")
            cpu = cell.median("trident", "tokens_per_cpu_s") * 2 * flops / cell.peak("gflops_cpu")
            print(f"  {name} 2T of two-core peak: {verdict(wall, *PEAK_GOALS[name])} ({cpu:.3f})")
            if rival:
                # The leanest setting of PyTorch, so that none flatters us.
                memory = cell.median("trident", "peak_mib") / min(
                    cell.median(other, "peak_mib") for other in cell.rivals()
                )
                print(f"  {name} 2T memory over PyTorch: {verdict(memory, MEMORY_GOALS[name], None, False)}")
            starts = cell.values("trident", "first_step_s")  # the first one times the matrix libraries
            line = verdict(statistics.median(starts), START_GOALS[name], None, False)
            print(f"  {name} 2T start to end of first step, s: {line} (first start here: {starts[0]:.2f})")


def print_machine(options):
    with open("/proc/cpuinfo", encoding="ascii") as file:
        facts = dict(line.strip().split("\t: ", 1) for line in file if "\t: " in line)
    fields = [f"{key} {facts.get(key, '?')}" for key in ("model name", "cpu family", "model")]
    print(f"machine: {', '.join(fields)}; {os.cpu_count()} CPUs; Linux {platform.release()}")
    found = {key: value for key, value in os.environ.items() if key.startswith(("OPENBLAS", "OMP", "MKL", "BLIS"))}
    print(f"environment: {found or 'nothing that concerns BLAS or OpenMP'}; niceness {os.nice(0)}")
    for python in filter(None, (options.debian_python, options.newest_python)):
        print(f"{python}: PyTorch {programs.describe(python) or 'not there'}")


def prefer(nice):
    """Sets the niceness of this process and what it starts. Linux weighs sessions first, where it groups by them."""
    os.nice(nice)
    group = pathlib.Path("/proc/self/autogroup")
    if group.exists():
        if os.getpgrp() != os.getpid():
            os.setsid()
        group.write_text(str(nice))


def main():
    options = arguments()
    if options.nice:
        prefer(options.nice)
    print_machine(options)
    if not programs.describe(options.debian_python):
        options.debian_python = ""
    if not programs.describe(options.newest_python):
        options.newest_python = ""
    cells = []
    with tempfile.TemporaryDirectory(prefix="trident-bench-") as folder:
        rivals = programs.programs(options.debian_python, options.newest_python, pathlib.Path(folder))
        for name in options.models.split(","):
            for threads in map(int, options.threads.split(",")):
                cells.append(measure_cell(options, models.MODELS[name], threads, rivals, pathlib.Path(folder)))
                cells[-1].print()
    print_goals(cells)
    if options.json:
        rows = [
            {"model": cell.model.name, "threads": cell.threads, "peaks": cell.peaks,
             "samples": {name: [vars(one) for one in taken] for name, taken in cell.samples.items()}}
            for cell in cells
        ]  # fmt: skip
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


main()

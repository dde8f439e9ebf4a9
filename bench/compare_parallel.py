#!/usr/bin/env python3
"""Training on two ranks of one thread each, in every layout, beside one rank and PyTorch's DistributedDataParallel, in
one interleaved run.

    bench/compare_parallel.py [--models S,M,L] [--rounds 5] [--build build] [--json FILE]
                              [--debian-python /usr/bin/python3] [--newest-python VENV/bin/python]

Every program trains the same global batch under mpirun, every rank bound to a core of its own. Every round runs every
program once, each in fresh processes; ratios are medians of the rounds' own ratios. A disturbed sample is repeated up
to --retries times. bench/README.md explains the columns.
"""
import os
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "steps"))

import models  # noqa: E402
import pipeline  # noqa: E402
import programs  # noqa: E402
import rounds  # noqa: E402

THREADS = 1  # of a rank
RANKS = 2

# (must, stretch) of docs/measurements/parallel-steps.md
OVER_DDP_GOALS = {"S": (1.2, 1.4), "M": (1.2, 1.4), "L": (1.6, 1.8)}
OVER_ONE_RANK_GOALS = {"S": 1.8, "M": 1.85, "L": 1.85}
PEAK_GOALS = {"S": (0.54, 0.64), "M": (0.62, 0.70), "L": (0.62, 0.72)}


class Cell(rounds.Cell):
    """The samples of one model."""

    def __init__(self, model, contenders, trident):
        super().__init__(model, THREADS, [program.name for program in contenders])
        self.layouts = [one.name for one in contenders if one.is_trident and one.ranks == RANKS]
        self.alone = [one.name for one in contenders if one.is_trident and one.ranks == 1]
        self.rivals = [one.name for one in contenders if not one.is_trident]
        self.patched = programs.ddp_name(programs.PATCHED)
        pipelines = [one for one in contenders if one.layout.pp > 1]
        self.allowed = {one.name: pipeline.allowed(trident, model, one.layout) for one in pipelines}

    def best_rival(self, but_patched=True):
        names = [name for name in self.rivals if not (but_patched and name == self.patched)]
        return self.best(names, "tokens_per_s")

    def of_allowed(self, name):
        """Of the speed-up that the schedule allows over one rank with the same microbatches."""
        return self.ratio(name, programs.ONE_RANK_MICROBATCHES, "tokens_per_s") / self.allowed[name].speedup

    def memory(self, name):
        """The median of each rank's peak."""
        return " ".join(f"{statistics.median(rank):.0f}" for rank in zip(*self.values(name, "peaks_mib")))

    def of_peak(self, name):
        return self.median(name, "tokens_per_s") * self.model.flops_per_token / self.peak("gflops")

    def print(self):
        rival = self.best_rival()
        print(f"\n{self.model.name}: {self.model.flops_per_token / 1e6:.1f} MFLOP a token, peak of {RANKS} cores "
              f"{self.peak('gflops') / 1e9:.0f} GFLOP/s by wall time")  # fmt: skip
        for name, allowed in self.allowed.items():
            shares = " : ".join(f"{share:.3f}" for share in allowed.stage_shares)
            print(f"  {name}: bubble {allowed.even_bubble:.3f} were stages equal; they share operations {shares}, "
                  f"which allows {allowed.speedup:.3f} x 1 rank")  # fmt: skip
        print(f"  {'':28} {'tok/s':>8} {'of peak':>8} {'/1 rank':>8} {'/allowed':>8} {'/DDP':>6} | "
              f"{'MiB by rank':>11} {'start s':>7} {'others':>6} {'quiet':>6}")  # fmt: skip
        for name in self.samples:
            over_one = self.ratio(name, programs.ONE_RANK, "tokens_per_s")
            allowed = f"{self.of_allowed(name):8.3f}" if name in self.allowed else f"{'':8}"
            over_ddp = f"{self.ratio(name, rival, 'tokens_per_s'):6.2f}" if rival else f"{'':6}"
            print(f"  {name:28} {self.median(name, 'tokens_per_s'):8.0f} {self.of_peak(name):8.3f} {over_one:8.3f} "
                  f"{allowed} {over_ddp} | {self.memory(name):>11} {self.median(name, 'first_step_s'):7.2f} "
                  f"{self.median(name, 'others'):6.2f} {self.quiet(name):>6}")  # fmt: skip
        sys.stdout.flush()

    def print_goals(self):
        name, best = self.model.name, self.best(self.layouts, "tokens_per_s")
        for but_patched in (True, False):  # PyTorch's own settings; then also with MKL overridden
            rival = self.best_rival(but_patched)
            if rival and (but_patched or rival == self.patched):
                line = rounds.verdict(self.ratio(best, rival, "tokens_per_s"), *OVER_DDP_GOALS[name])
                print(f"  {name} {best} over best PyTorch ({rival}): {line}")
        one = self.best(self.alone, "tokens_per_s")
        line = rounds.verdict(self.ratio(best, one, "tokens_per_s"), OVER_ONE_RANK_GOALS[name], None)
        print(f"  {name} {best} over best of one rank ({one}): {line}")
        print(f"  {name} {best} of two-core peak: {rounds.verdict(self.of_peak(best), *PEAK_GOALS[name])}")


def main():
    options = rounds.parser(__doc__).parse_args()
    if len(os.sched_getaffinity(0)) < RANKS:
        sys.exit(f"compare_parallel.py: needs {RANKS} cores, may use {len(os.sched_getaffinity(0))}")

    def compare(folder):
        contenders = programs.parallel_programs(options.debian_python, options.newest_python, folder)
        cells = []
        for name in options.models.split(","):
            cell = Cell(models.MODELS[name], contenders, options.build / "trident")
            rounds.fill(cell, options, contenders, RANKS * THREADS, folder)
            cell.print()
            cells.append(cell)
        return cells

    cells = rounds.run(options, compare)
    print("\nGoals, of the fastest layout")
    for cell in cells:
        cell.print_goals()


main()

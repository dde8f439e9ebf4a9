#!/usr/bin/env python3
"""Training speed, memory and start of Trident beside PyTorch's, on the CPU, in one interleaved run.

    bench/compare_torch.py [--models S,M,L] [--threads 1,2] [--rounds 5] [--build build] [--json FILE]
                           [--debian-python /usr/bin/python3] [--newest-python VENV/bin/python]

Every round runs every program once, each in a fresh process, and measures the processor's peak between them; so a
machine that drifts, drifts for all. A sample is quiet when other programs used less than 0.15 cores while it was timed;
one that is not is repeated up to --retries times. Ratios are medians of the rounds' own ratios. bench/README.md
explains the columns.
"""
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "steps"))

import models  # noqa: E402
import programs  # noqa: E402
import rounds  # noqa: E402

# (must, stretch) of docs/measurements/cpu-steps.md
SPEED_GOALS = {
    ("S", 1): (1.15, 1.3), ("M", 1): (1.1, 1.25), ("L", 1): (1.1, 1.2),
    ("S", 2): (1.15, 1.35), ("M", 2): (1.1, 1.25), ("L", 2): (1.1, 1.25),
}  # fmt: skip
PEAK_GOALS = {"S": (0.54, 0.64), "M": (0.62, 0.70), "L": (0.62, 0.72)}
MEMORY_GOALS = {"S": 0.5, "M": 0.6, "L": 0.75}
START_GOALS = {"S": 0.8, "M": 3.5, "L": 9.0}


class Cell(rounds.Cell):
    """The samples of one model on one number of threads."""

    def rivals(self):
        return [name for name in self.samples if name != "trident"]

    def best_rival(self, field, but=()):
        return self.best([name for name in self.rivals() if name not in but], field)

    def over(self, name, field):
        """Trident over `name`."""
        return self.ratio("trident", name, field)

    def print(self):
        flops = self.model.flops_per_token
        peaks = f"{self.peak('gflops') / 1e9:.0f} ({self.peak('gflops_cpu') / 1e9:.0f})"
        print(f"\n{self.model.name}, {self.threads} thread{'s' * (self.threads > 1)}: {flops / 1e6:.1f} MFLOP a token, "
              f"peak {peaks} GFLOP/s by wall (processor) time")  # fmt: skip
        print(f"  {'':28} {'tok/s':>8} {'of peak':>8} {'ratio':>6} | {'tok/cpu-s':>9} {'of peak':>8} {'ratio':>6} |"
              f" {'MiB':>6} {'start s':>7} {'others':>6} {'quiet':>6}")  # fmt: skip
        for name in self.samples:
            wall, cpu = self.median(name, "tokens_per_s"), self.median(name, "tokens_per_cpu_s") * self.threads
            print(f"  {name:28} {wall:8.0f} {wall * flops / self.peak('gflops'):8.3f} "
                  f"{self.over(name, 'tokens_per_s'):6.2f} | {cpu:9.0f} {cpu * flops / self.peak('gflops_cpu'):8.3f} "
                  f"{self.over(name, 'tokens_per_cpu_s'):6.2f} | {self.median(name, 'peak_mib'):6.0f} "
                  f"{self.median(name, 'first_step_s'):7.2f} {self.median(name, 'others'):6.2f} "
                  f"{self.quiet(name):>6}")  # fmt: skip
        sys.stdout.flush()


def print_goals(cells):
    print("\nGoals (by wall time; in brackets by processor time)")
    for cell in cells:
        name, threads = cell.model.name, cell.threads
        for but in ((programs.PATCHED,), ()):  # PyTorch's own settings; then also with MKL overridden
            rival = cell.best_rival("tokens_per_s", but)
            if rival and (but or rival == programs.PATCHED):
                cpu = cell.over(cell.best_rival("tokens_per_cpu_s", but), "tokens_per_cpu_s")
                line = rounds.verdict(cell.over(rival, "tokens_per_s"), *SPEED_GOALS[name, threads])
                print(f"  {name} {threads}T over best PyTorch ({rival}): {line} ({cpu:.3f})")
        if threads == 2:
            flops = cell.model.flops_per_token
            wall = cell.median("trident", "tokens_per_s") * flops / cell.peak("gflops")
            cpu = cell.median("trident", "tokens_per_cpu_s") * 2 * flops / cell.peak("gflops_cpu")
            print(f"  {name} 2T of two-core peak: {rounds.verdict(wall, *PEAK_GOALS[name])} ({cpu:.3f})")
            if rival:
                # The leanest setting of PyTorch, so that none flatters us.
                memory = cell.median("trident", "peak_mib") / min(
                    cell.median(other, "peak_mib") for other in cell.rivals()
                )
                print(f"  {name} 2T memory over PyTorch: {rounds.verdict(memory, MEMORY_GOALS[name], None, False)}")
            starts = cell.values("trident", "first_step_s")  # the first one times the matrix libraries
            line = rounds.verdict(statistics.median(starts), START_GOALS[name], None, False)
            print(f"  {name} 2T start to end of first step, s: {line} (first start here: {starts[0]:.2f})")


def main():
    parser = rounds.parser(__doc__)
    parser.add_argument("--threads", default="1,2")
    options = parser.parse_args()

    def compare(folder):
        contenders = programs.programs(options.debian_python, options.newest_python, folder)
        cells = []
        for name in options.models.split(","):
            for threads in map(int, options.threads.split(",")):
                cell = Cell(models.MODELS[name], threads, [program.name for program in contenders])
                rounds.fill(cell, options, contenders, threads, folder)
                cell.print()
                cells.append(cell)
        return cells

    print_goals(rounds.run(options, compare))


main()

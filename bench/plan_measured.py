#!/usr/bin/env python3
"""The planner's predictions beside measured steps on this machine.

    bench/plan_measured.py [--models S,M] [--rounds 3] [--steps N] [--build build] [--cluster FILE]

Measures the machine (`trident doctor --calibrate`, unless --cluster gives its file), then trains each model on 1, 2 and 4
ranks in a dozen layouts, in turns, and compares the median step with what `trident plan` says of the same job. At the end
the planner's own choice for each number of ranks is trained too and compared with the fastest of all. Goals: every layout
within 15 %, the choice within 5 % of the fastest. Wants a machine that does nothing else.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "steps"))
import models  # noqa: E402
import programs  # noqa: E402
from needs import need  # noqa: E402
from programs import Layout  # noqa: E402

TIME_LIMIT_S = 600
LAYOUTS = {
    "1 rank": Layout(),
    "1 rank, 4 microbatches": Layout(microbatches=4),
    "1 rank, 8 microbatches": Layout(microbatches=8),
    "dp=2": Layout(dp=2),
    "dp=2, 4 microbatches": Layout(dp=2, microbatches=4),
    "dp=2, 8 microbatches": Layout(dp=2, microbatches=8),
    "tp=2": Layout(tp=2),
    "pp=2 1f1b": Layout(pp=2, microbatches=8),
    "pp=2 zb-h1": Layout(pp=2, schedule="zb-h1", microbatches=8),
    "dp=4": Layout(dp=4),
    "dp=4, 4 microbatches": Layout(dp=4, microbatches=4),
    "tp=4": Layout(tp=4),
    "dp=2 tp=2": Layout(dp=2, tp=2),
    "dp=2 pp=2": Layout(dp=2, pp=2, microbatches=4),
    "tp=2 pp=2": Layout(tp=2, pp=2, microbatches=8),
    "pp=4 1f1b": Layout(pp=4, microbatches=8),
}


def mpirun(ranks):
    if ranks <= os.cpu_count():
        return programs.mpirun(ranks)
    return ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none"]


def threads_of(ranks):
    return max(1, os.cpu_count() // ranks)


def job_of(model, layout, folder):
    return programs.job(model, layout, threads_of(layout.ranks), models.WARM_UP + model.steps, folder)


def run(trident, job, ranks, folder):
    """What the job's ranks say."""
    path = folder / "job.yaml"
    path.write_text(json.dumps(job))
    environment = dict(os.environ, TMPDIR=str(folder))
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    prefix = mpirun(ranks) if ranks > 1 else []
    command = [*prefix, str(trident), "train", str(path)]
    done = subprocess.run(command, env=environment, timeout=TIME_LIMIT_S, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}")
    return done.stdout


def train(trident, job, ranks, folder):
    """The median step in seconds."""
    run(trident, job, ranks, folder)
    with open(folder / "run" / "metrics.jsonl", encoding="utf-8") as file:
        steps = [row["step_s"] for row in map(json.loads, file) if "loss" in row]
    return statistics.median(steps[models.WARM_UP :])


def plan(trident, job, ranks, cluster, folder):
    """Layouts, the best first; of this machine at assumed rates without a cluster."""
    path = folder / "plan.yaml"
    path.write_text(json.dumps(job))
    command = [str(trident), "plan", str(path), "--gpus", str(ranks), "--json"]
    command += ["--cluster", str(cluster)] if cluster else []
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)["layouts"]


def chosen_job(model, ranks, trident, cluster, folder):
    """The job with the planner's first choice, and the layout."""
    job = job_of(model, Layout(), folder)
    del job["parallelism"], job["training"]["micro_batch_size"], job["training"]["recompute"]
    best = plan(trident, job, ranks, cluster, folder)[0]
    keys = ("dp", "tp", "pp", "schedule", "virtual_stages", "sequence_parallel", "zero_stage")
    job["parallelism"] = {key: best[key] for key in keys}
    job["training"] |= {key: best[key] for key in ("micro_batch_size", "recompute")}
    job["training"]["threads"] = threads_of(ranks)
    return job, best


def measure(trident, model, cluster, rounds):
    measured = {name: [] for name in LAYOUTS}
    predicted = {}
    choices = {ranks: [] for ranks in (1, 2, 4)}
    chosen = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds):
            for name, layout in LAYOUTS.items():
                folder = pathlib.Path(temporary) / f"{number} {name}"
                folder.mkdir()
                job = job_of(model, layout, folder)
                predicted[name] = plan(trident, job, layout.ranks, cluster, folder)[0]["step_s"]
                measured[name].append(train(trident, job, layout.ranks, folder))
            for ranks in choices:
                folder = pathlib.Path(temporary) / f"{number} choice {ranks}"
                folder.mkdir()
                job, chosen[ranks] = chosen_job(model, ranks, trident, cluster, folder)
                choices[ranks].append(train(trident, job, ranks, folder))
    return measured, predicted, choices, chosen


def report(model, measured, predicted, choices, chosen):
    print(f"\n### {model.name}\n\n| layout | measured ms | predicted ms | error % |\n|---|--:|--:|--:|")
    errors = []
    for name in LAYOUTS:
        is_s = statistics.median(measured[name])
        errors.append(predicted[name] / is_s - 1)
        print(f"| {name} | {1e3 * is_s:.1f} | {1e3 * predicted[name]:.1f} | {100 * errors[-1]:+.1f} |")
    sizes = [abs(error) for error in errors]
    print(f"\nmean error {100 * statistics.mean(sizes):.1f} %, worst {100 * max(sizes):.1f} %\n")
    for ranks, times in choices.items():
        rivals = [statistics.median(measured[name]) for name, layout in LAYOUTS.items() if layout.ranks == ranks]
        is_s, best = statistics.median(times), chosen[ranks]
        fastest = min([*rivals, is_s])
        keys = ("dp", "tp", "pp", "schedule", "virtual_stages", "micro_batch_size", "recompute")
        shown = ", ".join(f"{key} {best[key]}" for key in keys)
        print(f"planner's choice for {ranks}: {shown}: {1e3 * is_s:.1f} ms, fastest {1e3 * fastest:.1f} ms "
              f"({100 * (is_s / fastest - 1):+.1f} %), predicted {1e3 * best['step_s']:.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="S,M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed steps of a sample, instead of the model's own number")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build")
    parser.add_argument("--cluster", type=pathlib.Path)
    options = parser.parse_args()
    trident = options.build.resolve() / "trident"
    need(trident, "mpirun")
    with tempfile.TemporaryDirectory() as temporary:
        cluster = options.cluster or pathlib.Path(temporary) / "cpu.yaml"
        if not options.cluster:
            subprocess.run([str(trident), "doctor", "--calibrate", str(cluster)], check=True, timeout=TIME_LIMIT_S)
            print("\n```yaml\n" + cluster.read_text() + "```")
        for name in options.models.split(","):
            model = models.MODELS[name]
            if options.steps:
                model = dataclasses.replace(model, steps=options.steps)
            report(model, *measure(trident, model, cluster, options.rounds))


if __name__ == "__main__":
    main()

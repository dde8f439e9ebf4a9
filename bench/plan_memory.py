#!/usr/bin/env python3
"""The planner's memory beside what runs on this machine use.

    bench/plan_memory.py [--build build] [--only NAME]

Trains a small GPT-2 for two steps in two dozen layouts, of up to eight ranks on whatever processors there are, and compares
what `trident plan` says of the same job, kind by kind, with what the largest rank has touched at the end of its run (its
log's "memory used": pages that are in memory). Memory does not depend on the machine's speed or load. Goal: parameters,
gradients, optimizer and activations together within 5 % in every layout; exit code 1 where one is not.
"""
import argparse
import pathlib
import re
import sys
import tempfile

from plan_measured import HERE, plan, run

sys.path.insert(0, str(HERE / "steps"))
import models  # noqa: E402
import programs  # noqa: E402
from needs import need  # noqa: E402

GOAL = 0.05
KINDS = ("parameters", "gradients", "optimizer", "activations")
MODEL = models.Model("memory", 8, 256, 8, 4096, 128, 16, 2, "none")

# Keys of the section parallelism; "micro" and "recompute" are of training, "compute" of precision.
LAYOUTS = [
    {},
    {"micro": 4},
    {"micro": 4, "recompute": "selective"},
    {"micro": 4, "recompute": "full"},
    {"micro": 2, "compute": "bf16"},
    {"logical_shards": 4},
    {"dp": 2, "micro": 2},
    {"dp": 2, "micro": 2, "zero_stage": 0},
    {"dp": 4, "micro": 2, "recompute": "selective"},
    {"dp": 2, "micro": 2, "compute": "bf16"},
    {"dp": 8, "micro": 1},
    {"dp": 2, "logical_shards": 8},
    {"tp": 2, "micro": 4, "sequence_parallel": False},
    {"tp": 2, "micro": 4},
    {"tp": 4, "micro": 4, "recompute": "selective"},
    {"tp": 8, "micro": 4, "recompute": "full"},
    {"pp": 2, "micro": 2},
    {"pp": 2, "micro": 2, "schedule": "gpipe"},
    {"pp": 2, "micro": 2, "schedule": "interleaved", "virtual_stages": 2},
    {"pp": 2, "micro": 2, "schedule": "zb-v", "virtual_stages": 2},
    {"pp": 4, "micro": 1, "schedule": "zb-h1"},
    {"pp": 8, "micro": 1},
    {"dp": 2, "pp": 2, "micro": 2, "zero_stage": 0},
    {"dp": 2, "tp": 2, "micro": 4, "recompute": "selective"},
    {"tp": 2, "pp": 2, "micro": 2, "recompute": "full"},
    {"dp": 2, "tp": 2, "pp": 2, "micro": 2},
    {"dp": 2, "tp": 2, "pp": 2, "micro": 2, "zero_stage": 0, "schedule": "zb-h1", "compute": "bf16"},
]


def name_of(layout):
    return ", ".join(f"{key} {value}" for key, value in layout.items()) or "one rank"


def job_of(layout, folder):
    job = programs.job(MODEL, programs.Layout(), 1, MODEL.steps, folder)
    keys = dict(layout)
    job["training"] |= {"micro_batch_size": keys.pop("micro", 1), "recompute": keys.pop("recompute", "none")}
    job["precision"] = {"compute": keys.pop("compute", "fp32")}
    job["parallelism"] = {"dp": 1, "tp": 1, "pp": 1} | keys
    return job


def used(log):
    """Bytes by kind, of the rank that used the most."""
    line = re.search(r"memory used, of the planned MiB: (.*)", log)
    return {kind: 2**20 * float(is_mib) for kind, is_mib in re.findall(r"(\w+) ([\d.]+) of", line.group(1))}


def compare(trident, layout, folder):
    job = job_of(layout, folder)
    mesh = job["parallelism"]
    ranks = mesh["dp"] * mesh["tp"] * mesh["pp"]
    planned = plan(trident, job, ranks, None, folder)[0]["memory_gib"]
    found = used(run(trident, job, ranks, folder))
    off = {kind: planned[kind] * 2**30 / found[kind] - 1 for kind in KINDS}
    planned_all, found_all = (sum(kinds[kind] for kind in KINDS) for kinds in (planned, found))
    return ranks, found_all, off, planned_all * 2**30 / found_all - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build")
    parser.add_argument("--only", help="layouts whose names have this in them")
    options = parser.parse_args()
    trident = options.build.resolve() / "trident"
    need(trident, "mpirun")
    chosen = [layout for layout in LAYOUTS if (options.only or "") in name_of(layout)]
    print(f"| layout | ranks | used MiB | {' | '.join(f'{kind} %' for kind in KINDS)} | all % |")
    print(f"|---|--:|--:|{'--:|' * (len(KINDS) + 1)}")
    errors = []
    for layout in chosen:
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary) / "job"
            folder.mkdir()
            ranks, found, off, error = compare(trident, layout, folder)
        errors.append(abs(error))
        kinds = " | ".join(f"{100 * off[kind]:+.1f}" for kind in KINDS)
        print(f"| {name_of(layout)} | {ranks} | {found / 2**20:.1f} | {kinds} | {100 * error:+.1f} |", flush=True)
    print(f"\n{len(errors)} layouts: mean error {100 * sum(errors) / len(errors):.1f} %, worst {100 * max(errors):.1f} %")
    return 1 if max(errors) > GOAL else 0


if __name__ == "__main__":
    sys.exit(main())

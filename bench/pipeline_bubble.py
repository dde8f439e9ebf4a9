#!/usr/bin/env python3
"""How close two pipeline ranks come to what the simulator allows.

    bench/pipeline_bubble.py [--models S,M,L] [--schedules 1f1b,zb-h1] [--microbatches 8] [--build build]

Trains each model on two ranks of one thread, each on a core of its own, and records the timeline of some steps
(logging.trace_steps). The run writes beside it the schedule as the simulator times it with the stages' measured costs.
"simulated/measured" is the simulated makespan over the measured time of forward and backward, the median of the steps: what
is lost beside the bubble, to messages, waiting and the step's own bookkeeping.
"""
import argparse
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

TIME_LIMIT_S = 600


def spans(path):
    return [event for event in json.loads(path.read_text())["traceEvents"] if event.get("ph") == "X"]


def train(trident, model, layout, folder):
    """The folder of the run's timelines."""
    first, last = models.WARM_UP + 1, models.WARM_UP + model.steps
    job = programs.job(model, layout, 1, last, folder)
    job["logging"]["trace_steps"] = [first, last]
    path = folder / "job.yaml"
    path.write_text(json.dumps(job))
    environment = dict(os.environ, TMPDIR=str(folder))
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [*programs.mpirun(layout.ranks), str(trident), "train", str(path)]
    subprocess.run(command, env=environment, check=True, timeout=TIME_LIMIT_S, stderr=subprocess.DEVNULL)
    return folder / "run" / "trace"


def measure(trident, model, layout):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "sample"
        folder.mkdir()
        trace = train(trident, model, layout, folder)
        simulated = max(event["ts"] + event["dur"] for event in spans(trace / "simulated.json"))
        phases = spans(trace / "rank_00000.json")
        measured = [event["dur"] for event in phases if event["name"] == "forward and backward"]
    return simulated, statistics.median(measured)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="S,M,L")
    parser.add_argument("--schedules", default="1f1b,zb-h1")
    parser.add_argument("--microbatches", type=int, default=programs.PIPELINE_MICROBATCHES)
    build = os.environ.get("TRIDENT_BUILD_DIR", str(HERE.parent / "build"))
    parser.add_argument("--build", type=lambda text: pathlib.Path(text).resolve(), default=build)
    options = parser.parse_args()
    print(f"{'':12} {'simulated ms':>13} {'measured ms':>12} {'simulated/measured':>19}")
    for name in options.models.split(","):
        for schedule in options.schedules.split(","):
            layout = programs.Layout(pp=2, schedule=schedule, microbatches=options.microbatches)
            simulated, measured = measure(pathlib.Path(options.build) / "trident", models.MODELS[name], layout)
            print(f"{name + ' ' + schedule:12} {simulated / 1e3:13.1f} {measured / 1e3:12.1f} "
                  f"{simulated / measured:19.3f}", flush=True)  # fmt: skip


main()

#!/usr/bin/env python3
"""How long a checkpoint after every step keeps training waiting: GPT-2 M on two ranks (dp=2), and torch.save of as many bytes.

Rounds alternate training without checkpoints and with one a step. The stall is what the training thread waited
(`time_s.checkpoint` in metrics.jsonl); the whole cost, with the threads that copy, hash and write on the same cores, is
the difference of the steps. torch.save runs with Debian's PyTorch where it is installed.

    bench/checkpoint_stall.py --rounds 3 [--build build] [--steps 6] [--folder /tmp]
"""
import argparse
import array
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "steps"))
import models  # noqa: E402

WARM_UP = 2
TORCH = """
import os, sys, time, torch
state = {str(i): torch.rand(int(sys.argv[1]) // 4 // 12) for i in range(12)}
for _ in range(3):
    start = time.perf_counter()
    with open(sys.argv[2], "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    print(time.perf_counter() - start)
"""


def train(options, model, folder, interval):
    name = f"stall-{interval}"
    subprocess.run(["rm", "-rf", str(folder / name)], check=True)
    job = [
        f"run.dir={folder}", f"run.name={name}", f"training.steps={options.steps + WARM_UP}", "parallelism.dp=2",
        f"checkpoint.interval_steps={interval}", "checkpoint.keep=1", "training.threads=1",
    ]
    command = ["mpirun", "--bind-to", "core", "-n", "2", str(options.build / "trident"), "train", str(folder / "m.yaml")]
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    subprocess.run(command + job, check=True, env=environment, stderr=subprocess.DEVNULL)
    rows = [json.loads(line) for line in open(folder / name / "metrics.jsonl", encoding="utf-8")]
    rows = [row for row in rows if "loss" in row][WARM_UP:]
    commits = sum('"checkpoint_commit"' in line for line in open(folder / name / "events.jsonl", encoding="utf-8"))
    stall = [row["time_s"]["checkpoint"] for row in rows]
    return statistics.median(row["step_s"] for row in rows), statistics.median(stall), max(stall), commits


def write_job(model, folder):
    tokens = array.array("H", (random.Random(1).randrange(model.vocabulary) for _ in range(200_000)))
    (folder / "data.bin").write_bytes(tokens.tobytes())
    (folder / "m.yaml").write_text(
        f"""run: {{name: stall, dir: runs, seed: 1}}
model: {{architecture: gpt2, hidden_size: {model.width}, num_hidden_layers: {model.layers},
        num_attention_heads: {model.heads}, vocab_size: {model.vocabulary}, max_position_embeddings: {model.context}}}
tokenizer: {{kind: byte}}
data: {{train: {folder}/data.bin}}
training: {{sequence_length: {model.context}, global_batch_size: {model.batch}, recompute: {model.recompute}}}
optimizer: {{lr: 1.0e-4}}
lr_schedule: {{name: constant, warmup_steps: 0}}
evaluation: {{interval_steps: 0}}
logging: {{tensorboard: false}}
""",
        encoding="utf-8",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build")
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    model = models.MODELS["M"]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = pathlib.Path(name)
        write_job(model, folder)
        without, with_saves = [], []
        for _ in range(options.rounds):
            without.append(train(options, model, folder, 0))
            with_saves.append(train(options, model, folder, 1))
        size = sum(path.stat().st_size for path in (folder / "stall-1" / "checkpoints").glob("step_*/rank_*.h5"))
        plain = statistics.median(sample[0] for sample in without)
        saving = statistics.median(sample[0] for sample in with_saves)
        stall = statistics.median(sample[1] for sample in with_saves)
        worst = max(sample[2] for sample in with_saves)
        commits = sum(sample[3] for sample in with_saves)
        print(f"M, dp=2: {size / 1e6:.0f} MB a checkpoint, {options.rounds} rounds of {options.steps} steps")
        print(f"  step without checkpoints {plain:.3f} s, with one a step {saving:.3f} s: {saving / plain - 1:+.1%}")
        print(f"  the training thread waited {stall * 1e3:.1f} ms a step (most {worst * 1e3:.1f}): {stall / plain:.2%} of a step (goal 1 %)")
        print(f"  {commits} checkpoints committed in {options.rounds * (options.steps + WARM_UP)} steps")
        try:
            run = subprocess.run(["/usr/bin/python3", "-c", TORCH, str(size), str(folder / "torch.pt")],
                                 capture_output=True, text=True, check=True)
            seconds = statistics.median(float(line) for line in run.stdout.split())
            print(f"  torch.save + fsync of as many bytes keeps the caller {seconds * 1e3:.0f} ms")
        except (OSError, subprocess.CalledProcessError):
            print("  torch.save: not measured, no PyTorch here")


main()

#!/usr/bin/env python3
"""Reads a run's tb/ folder with TensorBoard itself and compares it with metrics.jsonl.

usage: tensorboard_read.py PROGRAM [RUN_DIR]    exit 77 (skipped) where the tensorboard package is absent

Without RUN_DIR the program first trains a few steps.
"""
import json
import math
import sys
import tempfile
from pathlib import Path

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("skipped: no tensorboard package (tests/interop/setup_venv.sh makes what is needed)")
    sys.exit(77)

from support import run as run_program

JOB = """
run: {{name: short, dir: {folder}}}
model: {{architecture: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2,
        vocab_size: 256, max_position_embeddings: 32}}
tokenizer: {{kind: byte}}
data: {{train: {folder}/data, validation: {folder}/data}}
training: {{sequence_length: 32, global_batch_size: 4, steps: 7}}
optimizer: {{lr: 1.0e-3}}
evaluation: {{interval_steps: 3, batches: 2}}
"""

TAGS = {
    "train/loss": lambda row: row["loss"],
    "train/grad_norm": lambda row: row["grad_norm"],
    "train/lr": lambda row: row["lr"],
    "time/step": lambda row: row["step_s"],
    "time/data": lambda row: row["time_s"]["data"],
    "time/compute": lambda row: row["time_s"]["compute"],
    "time/optimizer": lambda row: row["time_s"]["optimizer"],
    "memory/max_gib": lambda row: row["memory_gib"]["max"],
}


def highest_attempts(path, key):
    rows = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if key in row and row["attempt"] >= rows.get(row["step"], row)["attempt"]:
            rows[row["step"]] = row
    return rows


def compare(name, expected, events):
    found = {event.step: event.value for event in events}
    assert len(found) == len(events), f"{name}: a step twice; the restart's session start was not understood"
    assert found.keys() == expected.keys(), f"{name}: steps differ: {sorted(found.keys() ^ expected.keys())[:5]}"
    for step, value in expected.items():
        if value is None:
            assert not math.isfinite(found[step]), f"{name}, step {step}: {found[step]}, expected not finite"
        else:
            assert math.isclose(found[step], value, rel_tol=1e-5, abs_tol=1e-9), f"{name}, {step}: {found[step]} {value}"


def train(program, folder):
    (folder / "job.yaml").write_text(JOB.format(folder=folder))
    run_program(program, "tokenize", __file__, "--tokenizer", "byte", "--out", folder / "data", "--no-progress")
    run_program(program, "train", folder / "job.yaml")
    return folder / "short"


def check(run):
    board = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0, "tensors": 0})
    board.Reload()
    assert board.file_version == 2.0 if hasattr(board, "file_version") else True
    steps = highest_attempts(run / "metrics.jsonl", "loss")
    for tag, value in TAGS.items():
        compare(tag, {step: value(row) for step, row in steps.items()}, board.Scalars(tag))
    evaluations = highest_attempts(run / "metrics.jsonl", "val_loss")
    compare("val/loss", {step: row["val_loss"] for step, row in evaluations.items()}, board.Scalars("val/loss"))
    assert "perf/tokens_per_sec_per_gpu" in board.Tags()["scalars"]
    config = board.Tensors("config")[0].tensor_proto.string_val[0].decode()
    shown = "\n".join(line.removeprefix("    ") for line in config.splitlines())
    assert shown.strip() == (run / "config.resolved.yaml").read_text().strip(), shown
    assert steps and evaluations
    print(f"ok: {len(steps)} steps, {len(evaluations)} evaluations, tags {sorted(board.Tags()['scalars'])}")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if len(sys.argv) == 3:
        check(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory(prefix="trident-interop-") as folder:
        check(train(sys.argv[1], Path(folder)))


if __name__ == "__main__":
    main()

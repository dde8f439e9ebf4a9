#!/usr/bin/env python3
"""What run.sh needs beyond a shell: random tokens, comparisons of runs, times of steps, tables.

    checks.py tokens PREFIX VOCABULARY COUNT [--chained]
    checks.py compare RUN RUN (--relative X | --bits)
    checks.py time --trident PROGRAM --workload NAME --job FILE --data PREFIX --folder DIR [--steps 30] [--limit-s 60]
    checks.py steps STEPS.jsonl
    checks.py kernels KERNELS.jsonl
    checks.py clocks CLOCKS.csv BEGIN END

Each says what it found in a last line; compare exits with 1 where runs differ by more than they may.
"""
import argparse
import array
import csv
import json
import math
import pathlib
import random
import signal
import statistics
import struct
import subprocess
import sys
import time

import workloads

WARM_UP = 5  # steps that are not timed
SMALL_VOCABULARY = 65500  # from there on tokens take four bytes


def write_tokens(prefix, vocabulary, count, chained):
    """A data set of one document (docs/data-formats.md) of uniformly drawn tokens, the same every time. Where `chained`,
    three of four follow from the token before, so that a model has something to learn and wrong gradients show."""
    small = vocabulary < SMALL_VOCABULARY
    draws = array.array("I", random.Random(1).randbytes(4 * count))
    tokens = array.array("H" if small else "i", (draw * vocabulary >> 32 for draw in draws))
    if chained:
        for i in range(1, count):
            if draws[i] % 4 != 0:
                tokens[i] = (5 * tokens[i - 1] + 1) % vocabulary
    if sys.byteorder == "big":
        tokens.byteswap()
    prefix.with_name(prefix.name + ".bin").write_bytes(tokens.tobytes())
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQiqqq", 1, 8 if small else 4, 1, 2, count, 0, 0, 1)
    prefix.with_name(prefix.name + ".idx").write_bytes(index)
    print(f"{count} tokens below {vocabulary} in {prefix}.bin")


def rows_of(run):
    """Rows of metrics.jsonl that are whole."""
    path = pathlib.Path(run) / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def numbers_of(run, keys):
    """(step, key, number) of every row, in order. Digits suffice to tell two doubles apart."""
    return [(row.get("step"), key, row[key]) for row in rows_of(run) for key in keys if key in row]


def compare(first, second, relative):
    """Where `relative` is None, losses and gradient norms must be the same doubles; else losses may differ by it, and
    norms, which sum larger errors, by ten times as much."""
    keys = ("loss", "val_loss", "grad_norm")
    bounds = {key: (relative or 0.0) * (10 if key == "grad_norm" else 1) for key in keys}
    ours, theirs = numbers_of(first, keys), numbers_of(second, keys)
    if not ours or [number[:2] for number in ours] != [number[:2] for number in theirs]:
        print(f"{first} and {second}: not the same rows, or none")
        return 1
    largest, failed = dict.fromkeys(keys, 0.0), 0
    for (step, key, x), (_, _, y) in zip(ours, theirs, strict=True):
        finite = x is not None and y is not None
        apart = abs(x - y) / max(abs(x), abs(y), 1e-300) if finite else math.inf
        largest[key] = max(largest[key], apart)
        if apart > bounds[key]:
            print(f"{key} of step {step}: {x} and {y}")
            failed = 1
    found = ", ".join(f"{key} {value:.1e}" for key, value in largest.items())
    wanted = "equal bits" if relative is None else f"losses within {relative:g}"
    print(f"{pathlib.Path(first).name} and {pathlib.Path(second).name}: {found}; wanted {wanted}"
          f"{': NOT SO' if failed else ''}")  # fmt: skip
    return failed


def memory_used():
    """MiB in use on the first GPU, or None."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return float(done.stdout.split()[0])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def time_training(options):
    """Trains until enough steps are timed and ends the process there, so that no weights are written. A line of JSON."""
    workload = workloads.WORKLOADS[options.workload]
    wanted = WARM_UP + options.steps
    command = [options.trident, "train", options.job, f"run.dir={options.folder}", f"run.name={options.workload}",
               f"data.train={options.data}", "training.steps=100000", *options.keys]  # fmt: skip
    run = pathlib.Path(options.folder) / options.workload
    result = {"program": " ".join(["trident", *options.keys]), "workload": workload.name}
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows, used = [], None
    try:
        while len(rows) < wanted and process.poll() is None and time.monotonic() - start < options.limit_s:
            time.sleep(0.1)
            rows = [row for row in rows_of(run) if "loss" in row]
        if len(rows) >= wanted:
            used = memory_used()
    finally:
        process.kill()
        process.wait()
    if len(rows) < wanted:
        code = process.returncode
        result["error"] = f"{len(rows)} of {wanted} steps in {time.monotonic() - start:.0f} s, exit code {code}"
        print(json.dumps(result))
        return 1
    seconds = [row["step_s"] for row in rows[WARM_UP:wanted]]
    median = statistics.median(seconds)
    result |= {
        "step_s": median,
        "fastest_s": min(seconds),
        "slowest_s": max(seconds),
        "steps": len(seconds),
        "tokens_per_s": workload.tokens / median,
        "tflop_s": workload.flops_per_token * workload.tokens / median / 1e12,
        "convention": "causal, 6N+6LCT a token",
        "peak_gib": used / 1024 if used else None,
        "first_loss": rows[0]["loss"],
        "last_loss": rows[wanted - 1]["loss"],
        "time_s": rows[wanted - 1].get("time_s"),
    }
    print(json.dumps(result))
    return 0


def read_lines(path):
    path = pathlib.Path(path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def variant_name(row):
    if row.get("program", "").startswith("trident"):
        return row["program"]
    return "torch " + " ".join(row[key] for key in ("sdpa", "mode", "weights", "compile"))


def print_steps(path):
    """Every sample, then per workload the fastest PyTorch over the median of Trident's samples."""
    rows = read_lines(path)
    print(f"{'workload':<16}{'program':<42}{'ms':>8}{'slowest':>9}{'tok/s':>9}{'TFLOP/s':>9}{'GiB':>7}")
    for row in rows:
        name = f"{row['workload']:<16}{variant_name(row):<42}"
        if "error" in row:
            print(f"{name} {row['error'][:100]}")
            continue
        memory = f"{row['peak_gib']:.1f}" if row.get("peak_gib") else "?"
        print(f"{name}{row['step_s'] * 1e3:8.1f}{row['slowest_s'] * 1e3:9.1f}{row['tokens_per_s']:9.0f}"
              f"{row['tflop_s']:9.1f}{memory:>7}")  # fmt: skip
    for workload in dict.fromkeys(row["workload"] for row in rows):
        timed = [row for row in rows if row["workload"] == workload and "error" not in row]
        ours = [row["step_s"] for row in timed if row.get("program") == "trident"]
        theirs = [row for row in timed if not row.get("program", "").startswith("trident")]
        if ours and theirs:
            best = min(theirs, key=lambda row: row["step_s"])
            spread = (max(ours) - min(ours)) / min(ours) * 100
            print(f"result: {workload}: fastest PyTorch ({variant_name(best)[6:]}) over Trident: "
                  f"{best['step_s'] / statistics.median(ours):.3f}; Trident's own samples {spread:.1f} % apart")  # fmt: skip
        else:
            print(f"result: {workload}: no ratio: {len(ours)} samples of Trident, {len(theirs)} of PyTorch")


def print_kernels(path):
    for row in read_lines(path):
        rate = f"{row['gb_s']:7.0f} GB/s" if "gb_s" in row else f"{row['tflop_s']:7.0f} TF/s"
        print(f"{row['family'] + ' ' + row['kernel']:<34}{row['shape']:<20}{row['us']:9.1f} us{rate}"
              f"{row['of_ceiling']:7.3f}")  # fmt: skip


def print_clocks(path, begin, end):
    """Medians of nvidia-smi's samples (seconds, SM MHz, memory MHz, W, degrees) between two moments, under load."""
    samples = []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            try:
                moment, *values = map(float, row)
            except ValueError:
                continue
            if begin <= moment <= end and len(values) == 4 and values[2] > 0:
                samples.append(values)
    if not samples:
        print("no samples")
        return
    hot = [sample for sample in samples if sample[2] >= 0.5 * max(sample[2] for sample in samples)]
    middle = [statistics.median(column) for column in zip(*hot, strict=True)]
    print(f"{middle[0]:.0f} MHz, memory {middle[1]:.0f} MHz, {middle[2]:.0f} W, {middle[3]:.0f} C")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("tokens")
    verb.add_argument("prefix", type=pathlib.Path)
    verb.add_argument("vocabulary", type=int)
    verb.add_argument("count", type=int)
    verb.add_argument("--chained", action="store_true")
    verb = verbs.add_parser("compare")
    verb.add_argument("first")
    verb.add_argument("second")
    how = verb.add_mutually_exclusive_group(required=True)
    how.add_argument("--relative", type=float)
    how.add_argument("--bits", action="store_true")
    verb = verbs.add_parser("time")
    for name in ("trident", "workload", "job", "data", "folder"):
        verb.add_argument("--" + name, required=True)
    verb.add_argument("--steps", type=int, default=30)
    verb.add_argument("--limit-s", type=float, default=60)
    verb.add_argument("keys", nargs="*", help="KEY=VALUE for the job")
    verbs.add_parser("steps").add_argument("path")
    verbs.add_parser("kernels").add_argument("path")
    verb = verbs.add_parser("clocks")
    verb.add_argument("path")
    verb.add_argument("begin", type=float)
    verb.add_argument("end", type=float)
    options = parser.parse_args()
    if options.verb == "tokens":
        write_tokens(options.prefix, options.vocabulary, options.count, options.chained)
    elif options.verb == "compare":
        bound = None if options.bits else options.relative
        if bound is not None and not (math.isfinite(bound) and bound > 0):
            parser.error("--relative must be positive")
        return compare(options.first, options.second, bound)
    elif options.verb == "time":
        return time_training(options)
    elif options.verb == "steps":
        print_steps(options.path)
    elif options.verb == "kernels":
        print_kernels(options.path)
    else:
        print_clocks(options.path, options.begin, options.end)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Data sets both ways against an implementation of the published formats in numpy.

usage: megatron_idx.py PROGRAM DATASET_TOOL     exit 77 and one line "skipped: …" where numpy is missing

  1. the writer's .bin/.idx, and those of `PROGRAM tokenize`, are byte for byte what Megatron's writer makes;
  2. the reader takes every token type and documents of several sequences, and refuses a file cut short anywhere;
  3. `PROGRAM eval` and `PROGRAM train` see the same tokens in .bin/.idx of every token type and in nanoGPT's raw
     uint16, to the last bit of the loss, and refuse broken files with exit code 65.
"""
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile

try:
    import numpy as np

    from support import CODES, run, write_megatron, write_raw
except ImportError:
    print("skipped: numpy is not installed (package python3-numpy)")
    sys.exit(77)


def contents(prefix):
    return [pathlib.Path(f"{prefix}{suffix}").read_bytes() for suffix in (".bin", ".idx")]


def lines(documents):
    return "".join(" ".join(map(str, document)) + "\n" for document in documents)


def random_document(rng, vocab_size):
    return [rng.randrange(vocab_size) for _ in range(rng.choice([0, 1, 2, 7, 300]))]


def check_writer(tool, folder, rng):
    for vocab_size in (2, 256, 50257, 65499, 65500, 128256):
        documents = [random_document(rng, vocab_size) for _ in range(rng.randrange(30))]
        ours, theirs = folder / "ours", folder / "theirs"
        run(tool, "write", ours, vocab_size, input=lines(documents))
        sequences = [[document] if document else [] for document in documents]
        write_megatron(theirs, sequences, 8 if vocab_size < 65500 else 4)
        assert contents(ours) == contents(theirs), f"files differ for vocabulary {vocab_size}"


def check_reader(tool, folder, rng):
    for code, dtype in CODES.items():
        vocab_size = min(int(np.iinfo(dtype).max) + 1, 1 << 31)
        documents = []
        for _ in range(20):
            documents.append([random_document(rng, vocab_size) for _ in range(rng.randrange(4))])
        prefix = folder / f"code{code}"
        write_megatron(prefix, documents, code)
        output = run(tool, "read", prefix, vocab_size).stdout
        joined = [sum(document, []) for document in documents]
        assert output == lines(document for document in joined if document), f"tokens differ for dtype code {code}"


def check_cut_short(tool, folder):
    prefix = folder / "broken"
    write_megatron(prefix, [[[1, 2, 3]], [[4]]], 8)
    whole = contents(prefix)[1]
    for size in range(len(whole)):
        prefix.with_suffix(".idx").write_bytes(whole[:size])
        error = run(tool, "read", prefix, 100, status=65).stderr
        assert "broken.idx, byte" in error, (size, error)


def check_tokenize(program, folder, rng):
    """The program's own files: a text file is one document, a JSONL line another, each one sequence."""
    texts = ["".join(rng.choice("ab \n\té世🔱\0") for _ in range(rng.choice([1, 5, 3000]))) for _ in range(40)]
    plain, rows = folder / "text.txt", folder / "rows.jsonl"
    plain.write_bytes(texts[0].encode() + b"\xff\xfe")
    rows.write_text("\n".join(json.dumps({"text": text, "id": 1}, ensure_ascii=rng.random() < 0.5)
                              for text in texts[1:]) + "\n")
    documents = [[list(texts[0].encode() + b"\xff\xfe")]] + [[list(text.encode())] for text in texts[1:]]
    write_megatron(folder / "expected", documents, 8)
    for threads in (1, 2, 3):
        done = run(program, "tokenize", plain, rows, "--tokenizer", "byte", "--out", folder / "made", "--json",
                   "--no-progress", "--threads", threads)
        result = json.loads(done.stdout)
        assert result["documents"] == len(documents), result
        assert result["tokens"] == sum(len(document[0]) for document in documents), result
        assert result["bytes"] > 0 and result["seconds"] >= 0, result
        assert contents(folder / "made") == contents(folder / "expected"), f"files differ with {threads} threads"


JOB = """
run: {{name: {name}, dir: {folder}, seed: 5}}
device: cpu
model: {{architecture: gpt2, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        vocab_size: 100, max_position_embeddings: 16}}
tokenizer: {{kind: huggingface, path: {folder}/tokenizer.json}}
data: {{train: [{{path: {data}, weight: 1.0}}], validation: {data}, shuffle: true}}
training: {{sequence_length: 16, global_batch_size: 4, micro_batch_size: 4, steps: 3, threads: 1}}
optimizer: {{lr: 1.0e-2}}
evaluation: {{interval_steps: 3, batches: 2}}
"""
TOKENIZER = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
             "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}


def train(program, folder, name, data):
    """Losses of a short training, as written."""
    job = folder / f"{name}.yaml"
    job.write_text(JOB.format(name=name, folder=folder, data=data))
    run(program, "train", job)
    rows = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    return [row.get("loss", row.get("val_loss")) for row in rows]


def check_reading_verbs(program, folder, rng):
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    documents = [[[rng.randrange(100) for _ in range(rng.randrange(1, 90))]] for _ in range(12)]
    joined = sum((document[0] for document in documents), [])
    write_raw(folder / "raw.bin", joined)
    data = [folder / "raw.bin"]
    for code in CODES:
        data.append(folder / f"all{code}")
        write_megatron(data[-1], documents, code)
    losses = [train(program, folder, f"run{i}", path) for i, path in enumerate(data)]
    assert len(losses[0]) == 4 and losses[0][2] < losses[0][0], losses[0]
    assert all(each == losses[0] for each in losses), losses
    found = []
    for path in data + [folder / "all8.bin", folder / "all8.idx"]:
        done = run(program, "eval", folder / "run0", "--data", path, "--sequence-length", 16, "--json", "--threads", 1)
        found.append(json.loads(done.stdout))
        assert found[-1]["tokens"] == len(joined) - 1, found[-1]
    assert all(each["loss"] == found[0]["loss"] for each in found), found


def check_refusals(program, folder):
    """Broken in a way that only the reading verbs meet."""
    def broken(name, change):
        shutil.copy(folder / "all8.idx", folder / f"{name}.idx")
        shutil.copy(folder / "all8.bin", folder / f"{name}.bin")
        change(folder / f"{name}.bin", folder / f"{name}.idx")
        return folder / name, name

    cases = [broken("short_bin", lambda data, _: os.truncate(data, 10)),
             broken("no_magic", lambda _, index: index.write_bytes(b"X" + index.read_bytes()[1:])),
             broken("empty_idx", lambda _, index: index.write_bytes(b"")),
             broken("large_token", lambda data, _: data.write_bytes(data.read_bytes()[:-2] + b"\xff\xff"))]
    (folder / "odd_raw.bin").write_bytes(b"abc")
    cases.append((folder / "odd_raw.bin", "odd_raw"))
    for path, name in cases:
        error = run(program, "eval", folder / "run0", "--data", path, "--sequence-length", 16, status=65).stderr
        assert name in error and "byte" in error, error
    missing = run(program, "eval", folder / "run0", "--data", folder / "nothing", status=66).stderr
    assert "nothing" in missing, missing


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, tool = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="trident-interop-") as name:
        folder = pathlib.Path(name)
        check_writer(tool, folder, rng)
        check_reader(tool, folder, rng)
        check_cut_short(tool, folder)
        check_tokenize(program, folder, rng)
        check_reading_verbs(program, folder, rng)
        check_refusals(program, folder)
    print("ok: .bin/.idx and raw uint16 mean the same on both sides")


if __name__ == "__main__":
    main()

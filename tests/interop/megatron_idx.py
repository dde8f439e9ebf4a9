#!/usr/bin/env python3
"""Megatron .bin/.idx both ways against an implementation of the published format in numpy.

usage: megatron_idx.py DATASET_TOOL     exit 77 and one line "skip: …" where numpy is missing
"""
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skip: numpy is not installed (package python3-numpy)")
    sys.exit(77)

CODES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}


def index_dtype(sequences, entries):
    """The .idx as one packed little-endian record."""
    return np.dtype([("magic", "V9"), ("version", "<u8"), ("code", "u1"), ("sequences", "<u8"), ("entries", "<u8"),
                     ("lengths", "<i4", (sequences,)), ("pointers", "<i8", (sequences,)),
                     ("documents", "<i8", (entries,))])


def write_files(prefix, documents, code):
    """`documents` is a list of documents, each a list of sequences, each a list of ids."""
    dtype = np.dtype(CODES[code])
    sequences = [sequence for document in documents for sequence in document]
    record = np.zeros((), index_dtype(len(sequences), len(documents) + 1))
    record["magic"] = np.void(b"MMIDIDX\0\0")
    record["version"], record["code"] = 1, code
    record["sequences"], record["entries"] = len(sequences), len(documents) + 1
    record["lengths"] = [len(sequence) for sequence in sequences]
    bytes_before = np.cumsum([0] + [len(sequence) * dtype.itemsize for sequence in sequences])
    record["pointers"] = bytes_before[:-1]
    record["documents"] = np.cumsum([0] + [len(document) for document in documents])
    with open(prefix + ".idx", "wb") as file:
        file.write(record.tobytes())
    with open(prefix + ".bin", "wb") as file:
        for sequence in sequences:
            file.write(np.asarray(sequence, dtype).tobytes())


def contents(prefix):
    files = []
    for suffix in (".bin", ".idx"):
        with open(prefix + suffix, "rb") as file:
            files.append(file.read())
    return files


def run(tool, verb, path, vocab_size, text=""):
    done = subprocess.run([tool, verb, path, str(vocab_size)], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def lines(documents):
    return "".join(" ".join(map(str, document)) + "\n" for document in documents)


def random_document(rng, vocab_size):
    return [rng.randrange(vocab_size) for _ in range(rng.choice([0, 1, 2, 7, 300]))]


def check_writer(tool, folder, rng):
    for vocab_size in (2, 256, 50257, 65499, 65500, 128256):
        documents = [random_document(rng, vocab_size) for _ in range(rng.randrange(30))]
        ours, theirs = os.path.join(folder, "ours"), os.path.join(folder, "theirs")
        code, _, error = run(tool, "write", ours, vocab_size, lines(documents))
        assert code == 0, error
        sequences = [[document] if document else [] for document in documents]
        write_files(theirs, sequences, 8 if vocab_size < 65500 else 4)
        assert contents(ours) == contents(theirs), f"files differ for vocabulary {vocab_size}"


def check_reader(tool, folder, rng):
    for code, dtype in CODES.items():
        vocab_size = min(int(np.iinfo(dtype).max) + 1, 1 << 31)
        documents = []
        for _ in range(20):
            documents.append([random_document(rng, vocab_size) for _ in range(rng.randrange(4))])
        prefix = os.path.join(folder, f"code{code}")
        write_files(prefix, documents, code)
        status, output, error = run(tool, "read", prefix, vocab_size)
        assert status == 0, error
        joined = [sum(document, []) for document in documents]
        assert output == lines(document for document in joined if document), f"tokens differ for dtype code {code}"


def check_refusals(tool, folder):
    prefix = os.path.join(folder, "broken")
    write_files(prefix, [[[1, 2, 3]], [[4]]], 8)
    whole = contents(prefix)[1]
    for size in range(len(whole)):
        with open(prefix + ".idx", "wb") as file:
            file.write(whole[:size])
        status, _, error = run(tool, "read", prefix, 100)
        assert status == 65 and "broken.idx, byte" in error, (size, status, error)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        check_writer(sys.argv[1], folder, rng)
        check_reader(sys.argv[1], folder, rng)
        check_refusals(sys.argv[1], folder)
    print("ok: .bin/.idx equal byte for byte both ways")


if __name__ == "__main__":
    main()

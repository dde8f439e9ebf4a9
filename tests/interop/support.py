"""What the scripts of this folder share: running the program, and writing data sets without its help."""
import subprocess
import sys

import numpy as np

# Megatron's codes of token types.
CODES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}


def run(*arguments, status=0, **options):
    """Runs a program to its end, which must have the given exit status; returns what subprocess.run does."""
    command = [str(argument) for argument in arguments]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False, **{"text": True, **options})
    if done.returncode != status:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
    return done


def index_dtype(sequences, entries):
    """The .idx as one packed little-endian record."""
    return np.dtype([("magic", "V9"), ("version", "<u8"), ("code", "u1"), ("sequences", "<u8"), ("entries", "<u8"),
                     ("lengths", "<i4", (sequences,)), ("pointers", "<i8", (sequences,)),
                     ("documents", "<i8", (entries,))])


def write_megatron(prefix, documents, code):
    """PREFIX.bin/.idx. `documents` is a list of documents, each a list of sequences, each a list of ids."""
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
    with open(f"{prefix}.idx", "wb") as file:
        file.write(record.tobytes())
    with open(f"{prefix}.bin", "wb") as file:
        for sequence in sequences:
            file.write(np.asarray(sequence, dtype).tobytes())


def write_raw(path, ids):
    """nanoGPT's .bin: little-endian uint16 and nothing else."""
    np.asarray(ids, "<u2").tofile(path)

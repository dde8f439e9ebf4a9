"""What is compared: `trident train` and PyTorch in several settings. Each is a command, an environment and a file."""
import array
import dataclasses
import json
import os
import pathlib
import random
import subprocess

import models

HERE = pathlib.Path(__file__).resolve().parent
OPENBLAS_OPENMP = pathlib.Path("/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0")
PATCHED = "torch-newest, MKL overridden"
TOKENS = 200_000


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    python: str = ""  # of PyTorch; none for trident
    environment: tuple = ()  # names and values to set; None removes

    @property
    def is_trident(self):
        return not self.python

    def environ(self):
        environment = dict(os.environ)
        for key, value in self.environment:
            environment.pop(key, None)
            if value is not None:
                environment[key] = value
        return environment


def programs(debian_python, newest_python, folder):
    """PyTorch as installed takes whatever OPENBLAS_* the caller exports. OpenBLAS 0.3.21 does not know Zen 4 and 5 and
    gives them AVX2 kernels; with SkylakeX it uses AVX-512. MKL gives AVX-512 to Intel's processors only, unless the
    function by which it asks is overridden: no setting that PyTorch knows, but the best that it can do."""
    openmp = ("LD_PRELOAD", str(OPENBLAS_OPENMP))
    best_kernels = (("OPENBLAS_CORETYPE", "SkylakeX"), ("OPENBLAS_L2_SIZE", None)) if has_avx512() else ()
    result = [Program("trident")]
    if debian_python:
        result.append(Program("torch-debian", debian_python))
        if OPENBLAS_OPENMP.exists():
            result.append(Program("torch-debian openmp", debian_python, (openmp,)))
            if best_kernels:
                result.append(Program("torch-debian openmp avx512", debian_python, (openmp, *best_kernels)))
    if newest_python:
        result.append(Program("torch-newest", newest_python))
        if best_kernels and not is_intel():
            result.append(Program(PATCHED, newest_python, (("LD_PRELOAD", mkl_override(folder)),)))
    return result


def mkl_override(folder):
    library = folder / "libmkl_override.so"
    compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(compiler, input=b"int mkl_serv_intel_cpu_true(void) { return 1; }\n", check=True)
    return str(library)


def is_intel():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return "GenuineIntel" in file.read()


def has_avx512():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return "avx512vl" in file.read()


def write_tokens(model, folder):
    """Random tokens as nanoGPT's raw uint16; both sides read random tokens, whose values do not matter."""
    path = folder / f"{model.name}.bin"
    if not path.exists():
        source = random.Random(1)
        tokens = array.array("H", (source.randrange(model.vocabulary) for _ in range(TOKENS)))
        path.write_bytes(tokens.tobytes())
    return path


def job(model, threads, steps, folder):
    """A job file; JSON is YAML."""
    return {
        "run": {"name": "run", "dir": str(folder), "seed": 1},
        "device": "cpu",
        "model": {
            "architecture": "gpt2",
            "hidden_size": model.width,
            "intermediate_size": 4 * model.width,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads,
            "vocab_size": model.vocabulary,
            "max_position_embeddings": model.context,
            "tie_word_embeddings": True,
        },
        "tokenizer": {"kind": "byte"},
        "data": {"train": str(write_tokens(model, folder.parent))},
        "training": {
            "sequence_length": model.context,
            "global_batch_size": model.batch,
            "micro_batch_size": model.batch,
            "steps": steps,
            "threads": threads,
            "clip_grad_norm": 0,
            "recompute": model.recompute,
        },
        "precision": {"compute": "fp32"},
        "optimizer": {
            "name": "adamw",
            "lr": models.LEARNING_RATE,
            "betas": list(models.BETAS),
            "eps": models.EPS,
            "weight_decay": models.WEIGHT_DECAY,
        },
        "lr_schedule": {"name": "constant"},
        "logging": {"tensorboard": False},
    }


def prepare(program, trident, model, threads, steps, folder):
    """(command, file for its output, file that gets the steps) of a process to take `steps` steps in an empty folder."""
    output = folder / "output.txt"
    if not program.is_trident:
        return [program.python, str(HERE / "torch_gpt2.py"), model.name, str(threads), str(steps)], output, output
    path = folder / "job.yaml"
    # More steps than are measured, so that the weights are never written while the last ones are timed.
    path.write_text(json.dumps(job(model, threads, steps + 100, folder), indent=1))
    return [str(trident), "train", str(path)], output, folder / "run" / "metrics.jsonl"


def describe(python):
    """Version of the PyTorch that `python` has, or an empty string."""
    code = "import torch; print(torch.__version__)"
    if not python:
        return ""
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()

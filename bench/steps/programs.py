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
ONE_RANK = "1 rank"
ONE_RANK_MICROBATCHES = "1 rank, microbatches"
PIPELINE_MICROBATCHES = 8  # four times the stages; L's batch has only 4 sequences


@dataclasses.dataclass(frozen=True)
class Layout:
    """How ranks share one step."""

    dp: int = 1
    tp: int = 1
    pp: int = 1
    schedule: str = "1f1b"
    microbatches: int = 1  # that a replica's share is cut into, where it has so many sequences

    @property
    def ranks(self):
        return self.dp * self.tp * self.pp

    def micro_batch(self, model):
        return max(1, model.batch // self.dp // self.microbatches)


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    python: str = ""  # of PyTorch; none for trident
    environment: tuple = ()  # names and values to set; None removes
    layout: Layout | None = None  # None: one process, without mpirun

    @property
    def is_trident(self):
        return not self.python

    @property
    def ranks(self):
        """Processes under mpirun."""
        return self.layout.ranks if self.layout else 0

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


def parallel_programs(debian_python, newest_python, folder):
    """Two ranks of one thread in every layout, and what they are compared with: one rank, and PyTorch's
    DistributedDataParallel in each setting that may be PyTorch's best."""
    result = [
        Program(ONE_RANK, layout=Layout()),
        Program(ONE_RANK_MICROBATCHES, layout=Layout(microbatches=PIPELINE_MICROBATCHES)),
        Program("dp=2", layout=Layout(dp=2)),
        Program("dp=2, microbatches", layout=Layout(dp=2, microbatches=PIPELINE_MICROBATCHES // 2)),
        Program("tp=2", layout=Layout(tp=2)),
    ]
    for schedule in ("1f1b", "zb-h1"):
        layout = Layout(pp=2, schedule=schedule, microbatches=PIPELINE_MICROBATCHES)
        result.append(Program(f"pp=2 {schedule}", layout=layout))
    for rival in programs(debian_python, newest_python, folder):
        as_installed = rival.name == "torch-debian" and OPENBLAS_OPENMP.exists()
        if not rival.is_trident and not as_installed:
            result.append(dataclasses.replace(rival, name=ddp_name(rival.name), layout=Layout(dp=2)))
    return result


def ddp_name(name):
    return name.replace("torch-", "DDP ")


def mkl_override(folder):
    library = folder / "libmkl_override.so"
    compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(compiler, input=b"int mkl_serv_intel_cpu_true(void) { return 1; }\n", check=True, timeout=60)
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


def job(model, layout, threads, steps, folder):
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
        "parallelism": {"dp": layout.dp, "tp": layout.tp, "pp": layout.pp, "schedule": layout.schedule},
        "training": {
            "sequence_length": model.context,
            "global_batch_size": model.batch,
            "micro_batch_size": layout.micro_batch(model),
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
        "checkpoint": {"interval_steps": 0},
        "logging": {"tensorboard": False},
    }


@dataclasses.dataclass(frozen=True)
class Start:
    """How a sample starts, and where to read from it."""

    command: list
    environment: dict
    output: pathlib.Path
    steps_file: pathlib.Path  # gets a line a step; may be `output`


def prepare(program, trident, model, threads, steps, folder):
    """The start of a process, or of ranks, to take `steps` steps in an empty folder."""
    output = folder / "output.txt"
    environment = program.environ()
    if program.is_trident:
        path = folder / "job.yaml"
        # More steps than are measured, so that the weights are never written while the last ones are timed.
        text = json.dumps(job(model, program.layout or Layout(), threads, steps + 100, folder), indent=1)
        path.write_text(text)
        command, steps_file = [str(trident), "train", str(path)], folder / "run" / "metrics.jsonl"
    else:
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        script = [program.python, str(HERE / ("torch_ddp.py" if program.ranks else "torch_gpt2.py"))]
        command, steps_file = [*script, model.name, str(threads), str(steps)], output
    if program.ranks:
        command = [*mpirun(program.ranks), *command]
        environment |= {"TMPDIR": str(folder)}  # for the launcher's session
        if os.geteuid() == 0:
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return Start(command, environment, output, steps_file)


def mpirun(ranks):
    """Every rank on a core of its own."""
    return ["mpirun", "-n", str(ranks), "--map-by", "core", "--bind-to", "core"]


def describe(python):
    """Version of the PyTorch that `python` has, or an empty string."""
    code = "import torch; print(torch.__version__)"
    if not python:
        return ""
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=60).stdout.strip()

#!/usr/bin/env python3
"""PyTorch's training step on one GPU, in several variants: what `trident train` is compared with.

    bench/gpu/torch_baseline.py gpt2-124m [llama-8b-slice ...] [--sdpa cudnn,flash] [--mode default,graphs]
                                [--weights autocast,master] [--compile whole|blocks|none] [--steps 30] [--limit-s 150]

A variant is one of each list, and runs in a process of its own that is ended after --limit-s seconds, because compiling
can take minutes. A JSON line a variant goes to stdout: median step, tokens/s, TFLOP/s (causal convention: 6N + 6LCT a
token), peak memory; or "error".

  --sdpa      cudnn, flash: this kernel and no other; auto: what PyTorch chooses, named in "sdpa_chosen"
  --mode      of torch.compile: default; graphs (reduce-overhead, CUDA graphs); autotune (max-autotune-no-cudagraphs);
              autotune-graphs (max-autotune)
  --weights   autocast: fp32 weights under bf16 autocast; master: bf16 weights and gradients, fp32 master weights
  --compile   whole: the model as one graph; blocks: one layer compiled once for all, quick for deep models; none: eager

Random tokens, AdamW (fused), gradients clipped to norm 1, loss over all tokens, one synchronisation a step: the loss is
read on the host, as `trident train` does. With --device cpu, tiny-gpt2 and tiny-llama prove the code without a GPU.
"""
import argparse
import itertools
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import workloads

WARM_UP = 5  # steps that are not timed: compilation, graph capture, first allocations
MODES = {
    "default": "default",
    "graphs": "reduce-overhead",
    "autotune": "max-autotune-no-cudagraphs",
    "autotune-graphs": "max-autotune",
}


def models(torch):
    """The module classes; inside a function, since only children need torch."""
    from torch import nn
    from torch.nn import functional as F

    def attend(qkv, workload, gqa, rotate=None):
        batch, length, _ = qkv.shape
        heads, kv_heads, dim = workload.heads, workload.kv_heads, workload.head_dim
        query, key, value = qkv.split((heads * dim, kv_heads * dim, kv_heads * dim), dim=2)
        query = query.view(batch, length, heads, dim).transpose(1, 2)
        key = key.view(batch, length, kv_heads, dim).transpose(1, 2)
        value = value.view(batch, length, kv_heads, dim).transpose(1, 2)
        if rotate is not None:
            query, key = rotate(query), rotate(key)
        grouped = heads != kv_heads
        if grouped and gqa == "repeated":
            key, value = (part.repeat_interleave(heads // kv_heads, dim=1) for part in (key, value))
            grouped = False
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)
        return mixed.transpose(1, 2).reshape(batch, length, heads * dim)

    class Gpt2Block(nn.Module):
        def __init__(self, workload, gqa):
            super().__init__()
            hidden = workload.hidden
            self.workload, self.gqa = workload, gqa
            self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
            self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
            self.up, self.down = nn.Linear(hidden, workload.inner), nn.Linear(workload.inner, hidden)

        def forward(self, x):
            x = x + self.out(attend(self.qkv(self.norm1(x)), self.workload, self.gqa))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Gpt2(nn.Module):
        def __init__(self, workload, gqa):
            super().__init__()
            self.tokens = nn.Embedding(workload.vocabulary, workload.hidden)
            self.positions = nn.Embedding(workload.sequence, workload.hidden)
            self.blocks = nn.ModuleList(Gpt2Block(workload, gqa) for _ in range(workload.layers))
            self.norm = nn.LayerNorm(workload.hidden)

        def forward(self, inputs, labels):
            x = self.tokens(inputs) + self.positions.weight
            for block in self.blocks:
                x = block(x)
            return self.loss(x, labels)

        def loss(self, x, labels):
            logits = F.linear(self.norm(x), self.tokens.weight)
            return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())

    class LlamaBlock(nn.Module):
        def __init__(self, workload, gqa):
            super().__init__()
            hidden, kv = workload.hidden, workload.kv_heads * workload.head_dim
            self.workload, self.gqa = workload, gqa
            self.norm1, self.norm2 = nn.RMSNorm(hidden, eps=1e-5), nn.RMSNorm(hidden, eps=1e-5)
            self.qkv, self.out = nn.Linear(hidden, hidden + 2 * kv, bias=False), nn.Linear(hidden, hidden, bias=False)
            self.gate_up = nn.Linear(hidden, 2 * workload.inner, bias=False)
            self.down = nn.Linear(workload.inner, hidden, bias=False)

        def forward(self, x, cosines, sines):
            def rotate(part):
                first, second = part.float().chunk(2, dim=-1)
                turned = (first * cosines - second * sines, second * cosines + first * sines)
                return torch.cat(turned, dim=-1).to(part.dtype)

            x = x + self.out(attend(self.qkv(self.norm1(x)), self.workload, self.gqa, rotate))
            gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
            return x + self.down(F.silu(gate) * up)

    class Llama(nn.Module):
        def __init__(self, workload, gqa):
            super().__init__()
            self.tokens = nn.Embedding(workload.vocabulary, workload.hidden)
            self.blocks = nn.ModuleList(LlamaBlock(workload, gqa) for _ in range(workload.layers))
            self.norm = nn.RMSNorm(workload.hidden, eps=1e-5)
            self.head = nn.Linear(workload.hidden, workload.vocabulary, bias=False)
            pairs = torch.arange(0, workload.head_dim, 2, dtype=torch.float32) / workload.head_dim
            angles = torch.outer(torch.arange(workload.sequence, dtype=torch.float32), 5e5**-pairs)
            self.register_buffer("cosines", angles.cos(), persistent=False)
            self.register_buffer("sines", angles.sin(), persistent=False)

        def forward(self, inputs, labels):
            x = self.tokens(inputs)
            for block in self.blocks:
                x = block(x, self.cosines, self.sines)
            return self.loss(x, labels)

        def loss(self, x, labels):
            logits = self.head(self.norm(x))
            return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())

    return {"gpt2": Gpt2, "llama": Llama}


def build(torch, workload, variant, gqa):
    """The model on its device, with weights drawn as `trident train` draws them."""
    torch.manual_seed(1)
    with torch.device(variant["device"]):
        model = models(torch)[workload.architecture](workload, gqa)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                residual = name.endswith(("out.weight", "down.weight"))
                weight.normal_(0, 0.02 / (math.sqrt(2 * workload.layers) if residual else 1))
            elif name.endswith("bias"):
                weight.zero_()
    if variant["weights"] == "master":
        tables = list(model.named_buffers())
        model.to(torch.bfloat16)
        for name, buffer in tables:  # angles stay fp32
            setattr(model, name, buffer)
    return model


class Optimizer:
    """Clipping and fused AdamW; with fp32 copies of bf16 weights where these are asked for."""

    def __init__(self, torch, model, master):
        self.torch, self.master = torch, master
        self.weights = list(model.parameters())
        self.copies = [weight.detach().float().clone() for weight in self.weights] if master else self.weights
        decay = [weight for weight in self.copies if weight.dim() > 1]
        rest = [weight for weight in self.copies if weight.dim() <= 1]
        groups = [
            {"params": decay, "weight_decay": workloads.WEIGHT_DECAY},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(
            groups, lr=workloads.LEARNING_RATE, betas=workloads.BETAS, eps=workloads.EPS, fused=True
        )
        if master:
            for copy in self.copies:
                copy.grad = torch.zeros_like(copy)

    def step(self):
        torch = self.torch
        if self.master:
            grads = [copy.grad for copy in self.copies]
            torch._foreach_copy_(grads, [weight.grad for weight in self.weights])
        torch.nn.utils.clip_grad_norm_(self.copies, workloads.CLIP, foreach=True)
        self.adamw.step()
        if self.master:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, self.copies)
        for weight in self.weights:
            weight.grad = None


def choose_sdpa(torch, workload, variant):
    """Leaves one attention kernel enabled. Returns how grouped heads are given to it, and what it is."""
    from torch.nn.attention import SDPBackend

    cuda = torch.backends.cuda
    wanted = variant["sdpa"]
    if variant["device"] == "cpu":
        return "grouped", "cpu"
    if wanted != "auto":
        cuda.enable_cudnn_sdp(wanted == "cudnn")
        cuda.enable_flash_sdp(wanted == "flash")
        cuda.enable_mem_efficient_sdp(False)
        cuda.enable_math_sdp(False)

    def probe(kv_heads):
        shape = (1, workload.heads, 256, workload.head_dim)
        query = torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        key = torch.randn((1, kv_heads, *shape[2:]), device="cuda", dtype=torch.bfloat16, requires_grad=True)
        options = {"is_causal": True, "enable_gqa": kv_heads != workload.heads}
        torch.nn.functional.scaled_dot_product_attention(query, key, key, **options).sum().backward()
        return SDPBackend(torch._fused_sdp_choice(query, key, key, **options)).name

    try:
        return "grouped", probe(workload.kv_heads)
    except RuntimeError:
        if workload.kv_heads == workload.heads:
            raise
    return "repeated", probe(workload.heads)


def compiled(torch, model, variant):
    options = {"mode": MODES[variant["mode"]]}
    if variant["compile"] == "whole":
        return torch.compile(model, **options)
    if variant["compile"] == "blocks":
        for block in model.blocks:
            block.compile(**options)
        model.loss = torch.compile(model.loss, **options)
    return model


def measure(variant):
    """One variant: a dictionary of results."""
    import torch

    workload, cuda = workloads.WORKLOADS[variant["workload"]], variant["device"] == "cuda"
    if cuda and not torch.cuda.is_available():
        raise RuntimeError("no GPU")
    torch.backends.cuda.matmul.allow_tf32 = True  # what is left in fp32 may use the matrix units too
    gqa, chosen = choose_sdpa(torch, workload, variant)
    model = build(torch, workload, variant, gqa)
    optimizer = Optimizer(torch, model, variant["weights"] == "master")
    forward = compiled(torch, model, variant)
    tokens = torch.randint(workload.vocabulary, (8, workload.batch, workload.sequence + 1), device=variant["device"])

    def step(index):
        torch.compiler.cudagraph_mark_step_begin()
        batch = tokens[index % len(tokens)]
        inputs, labels = batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
        with torch.autocast(variant["device"], dtype=torch.bfloat16, enabled=variant["weights"] == "autocast"):
            loss = forward(inputs, labels)
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for the device

    seconds, losses = [], []
    start = time.perf_counter()
    for index in range(WARM_UP + variant["steps"]):
        begin = time.perf_counter()
        losses.append(step(index))
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
        if index + 1 == WARM_UP:
            ready = time.perf_counter() - start
    if not all(map(math.isfinite, losses)):
        raise RuntimeError(f"loss is not finite: {losses[-1]}")
    median = statistics.median(seconds[WARM_UP:])
    flops = workload.flops_per_token * workload.tokens
    return {
        "step_s": median,
        "fastest_s": min(seconds[WARM_UP:]),
        "slowest_s": max(seconds[WARM_UP:]),
        "steps": variant["steps"],
        "tokens_per_s": workload.tokens / median,
        "tflop_s": flops / median / 1e12,
        "convention": "causal, 6N+6LCT a token",
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30 if cuda else None,
        "warm_up_s": ready,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "sdpa_chosen": chosen,
        "gqa": gqa,
        "torch": torch.__version__,
        "device_name": torch.cuda.get_device_name() if cuda else "cpu",
    }


def child(variant, path):
    try:
        result = measure(variant)
    except Exception as error:  # noqa: BLE001  # whatever stops a variant is its result
        result = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    pathlib.Path(path).write_text(json.dumps(variant | result), encoding="utf-8")


def run(variant, limit):
    """The results of a variant, measured in a process of its own. They come through a file: processes that compile may
    outlive the one that is killed, and would hold a pipe open."""
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, __file__, "--child", json.dumps(variant), file.name]
        process = subprocess.Popen(command, stdout=sys.stderr)
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            return variant | {"error": f"not done within {limit:.0f} s"}
        finally:
            process.kill()
            process.wait()
        text = pathlib.Path(file.name).read_text(encoding="utf-8")
    return json.loads(text) if text else variant | {"error": f"the process ended with {code}"}


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--child":
        child(json.loads(sys.argv[2]), sys.argv[3])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="+", choices=workloads.WORKLOADS, metavar="workload")
    parser.add_argument("--sdpa", default="cudnn,flash")
    parser.add_argument("--mode", default="default")
    parser.add_argument("--weights", default="autocast,master")
    parser.add_argument("--compile", default="whole", choices=("whole", "blocks", "none"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--limit-s", type=float, default=150, help="seconds for one variant")
    options = parser.parse_args()
    lists = [options.workloads]
    for name, legal in (("sdpa", ("cudnn", "flash", "auto")), ("mode", MODES), ("weights", ("autocast", "master"))):
        values = getattr(options, name).split(",")
        wrong = [value for value in values if value not in legal]
        if wrong:
            parser.error(f"--{name}: '{wrong[0]}' is none of {', '.join(legal)}")
        lists.append(values)
    if options.steps < 1:
        parser.error("--steps must be at least 1")
    failed = 0
    for name, sdpa, mode, weights in itertools.product(*lists):
        variant = {"workload": name, "sdpa": sdpa, "mode": mode, "weights": weights, "compile": options.compile}
        result = run(variant | {"device": options.device, "steps": options.steps}, options.limit_s)
        failed += "error" in result
        print(json.dumps(result), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

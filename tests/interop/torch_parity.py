#!/usr/bin/env python3
"""The same model, weights and data in PyTorch: losses and gradient norms must agree step by step.

usage: torch_parity.py TRIDENT [--steps N] [--case NAME] [--threads N]

Each case writes a job, lets `trident train` write its initial weights (training.steps=0) and then train; the same
training runs here in eager PyTorch. Bounds, relative: 1e-9 over all steps in fp64, 1e-5 over the first 10 in fp32.
Exit: 0 all agree, 1 some do not, 77 PyTorch is missing (skipped).
"""
import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("skipped: PyTorch is not installed (Debian: python3-torch)")
    sys.exit(77)

LENGTH, BATCH, VOCAB = 32, 6, 256
CASES = {
    "llama-gqa": dict(architecture="llama", num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False),
    "llama-tied": dict(architecture="llama", num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True),
    "gpt2": dict(architecture="gpt2", num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True),
}
COMMON = dict(hidden_size=48, intermediate_size=112, num_hidden_layers=3, vocab_size=VOCAB,
              max_position_embeddings=64)
OPTIMIZER = dict(lr=2e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
WARMUP, MIN_LR, CLIP = 5, 2e-4, 1.0


def write_data(prefix, tokens):
    """Megatron's .bin/.idx, one document of uint16 tokens."""
    with open(prefix + ".bin", "wb") as f:
        f.write(struct.pack(f"<{len(tokens)}H", *tokens))
    with open(prefix + ".idx", "wb") as f:
        f.write(b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 1, 2))
        f.write(struct.pack("<iqqq", len(tokens), 0, 0, 1))


def job(case, dtype, steps, folder, threads):
    model = {**COMMON, **CASES[case]}
    lines = [f"run: {{name: {case}-{dtype}, dir: {folder}, seed: 7}}", "device: cpu", "model:"]
    lines += [f"  {key}: {str(value).lower()}" for key, value in model.items()]
    lines += ["tokenizer: {kind: byte}",
              f"data: {{train: [{{path: {folder}/data, weight: 1.0}}], shuffle: false}}",
              f"training: {{sequence_length: {LENGTH}, global_batch_size: {BATCH}, micro_batch_size: 2,"
              f" steps: {steps}, clip_grad_norm: {CLIP}, threads: {threads}}}",
              f"precision: {{compute: {dtype}}}",
              f"optimizer: {{name: adamw, lr: 2.0e-3, betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1}}",
              f"lr_schedule: {{name: cosine, warmup_steps: {WARMUP}, min_lr: 2.0e-4}}",
              "evaluation: {interval_steps: 0}", "logging: {tensorboard: false}"]
    path = os.path.join(folder, f"{case}-{dtype}.yaml")
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    return path


def read_safetensors(path, dtype):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        base = f.tell()
        types = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16}
        tensors = {}
        for name, info in header.items():
            if name == "__metadata__":
                continue
            begin, end = info["data_offsets"]
            f.seek(base + begin)
            data = torch.frombuffer(bytearray(f.read(end - begin)), dtype=types[info["dtype"]])
            tensors[name] = data.reshape(info["shape"]).to(dtype)
        return tensors


def rms_norm(x, gain, eps=1e-5):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain


def rotate(x, theta=10000.0):
    half = x.shape[-1] // 2
    frequency = theta ** (-torch.arange(half, dtype=torch.float64) * 2 / x.shape[-1])
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def attention(q, k, v):
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    mask = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return F.softmax(scores.masked_fill(mask, float("-inf")), -1) @ v


def heads(x, count):
    return x.view(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def merge(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


def llama(w, c, tokens):
    x = F.embedding(tokens, w["model.embed_tokens.weight"])
    for layer in range(c["num_hidden_layers"]):
        p = lambda name: w[f"model.layers.{layer}.{name}.weight"]
        h = rms_norm(x, p("input_layernorm"))
        q = rotate(heads(h @ p("self_attn.q_proj").T, c["num_attention_heads"]))
        k = rotate(heads(h @ p("self_attn.k_proj").T, c["num_key_value_heads"]))
        v = heads(h @ p("self_attn.v_proj").T, c["num_key_value_heads"])
        x = x + merge(attention(q, k, v)) @ p("self_attn.o_proj").T
        h = rms_norm(x, p("post_attention_layernorm"))
        x = x + (F.silu(h @ p("mlp.gate_proj").T) * (h @ p("mlp.up_proj").T)) @ p("mlp.down_proj").T
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return rms_norm(x, w["model.norm.weight"]) @ head.T


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def gpt2(w, c, tokens):
    get = lambda name: w["transformer." + name]
    norm = lambda x, name: F.layer_norm(x, x.shape[-1:], get(name + ".weight"), get(name + ".bias"), 1e-5)
    conv = lambda x, name: x @ get(name + ".weight") + get(name + ".bias")
    x = F.embedding(tokens, get("wte.weight")) + get("wpe.weight")[:tokens.shape[1]]
    for layer in range(c["num_hidden_layers"]):
        q, k, v = (heads(t, c["num_attention_heads"])
                   for t in conv(norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn.c_attn").chunk(3, -1))
        x = x + conv(merge(attention(q, k, v)), f"h.{layer}.attn.c_proj")
        x = x + conv(gelu(conv(norm(x, f"h.{layer}.ln_2"), f"h.{layer}.mlp.c_fc")), f"h.{layer}.mlp.c_proj")
    return norm(x, "ln_f") @ get("wte.weight").T


def learning_rate(step, steps):
    if step < WARMUP:
        return OPTIMIZER["lr"] * (step + 1) / WARMUP
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return MIN_LR + (OPTIMIZER["lr"] - MIN_LR) * 0.5 * (1 + math.cos(math.pi * progress))


def train(case, weights, tokens, steps):
    config = {**COMMON, **CASES[case]}
    forward = gpt2 if config["architecture"] == "gpt2" else llama
    for tensor in weights.values():
        tensor.requires_grad_(True)
    groups = [dict(params=[t for t in weights.values() if t.dim() >= 2]),
              dict(params=[t for t in weights.values() if t.dim() < 2], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, **OPTIMIZER)
    samples = (len(tokens) - 1) // LENGTH
    stream = torch.tensor(tokens)
    for step in range(steps):
        rows = [(step * BATCH + i) % samples * LENGTH for i in range(BATCH)]
        batch = torch.stack([stream[row:row + LENGTH + 1] for row in rows])
        logits = forward(weights, config, batch[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, VOCAB), batch[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.step()
        yield loss.item(), norm.item()


def check(trident, case, dtype, steps, bound, compared, folder, tokens, threads):
    path = job(case, dtype, steps, folder, threads)
    run = os.path.join(folder, f"{case}-{dtype}")
    start = os.path.join(folder, "start")
    subprocess.run([trident, "train", path, "training.steps=0", f"run.dir={start}", "lr_schedule.warmup_steps=0"],
                   check=True, capture_output=True)
    export = os.path.join(start, f"{case}-{dtype}-hf")
    subprocess.run([trident, "checkpoint", "export", os.path.join(start, f"{case}-{dtype}"), "--out", export,
                    "--dtype", "fp32"], check=True, capture_output=True)
    weights = read_safetensors(os.path.join(export, "model.safetensors"),
                               {"fp64": torch.float64, "fp32": torch.float32}[dtype])
    weights.pop("lm_head.weight", None) if CASES[case]["tie_word_embeddings"] else None
    subprocess.run([trident, "train", path], check=True, capture_output=True)
    with open(os.path.join(run, "metrics.jsonl")) as f:
        ours = [row for row in map(json.loads, f) if "loss" in row]
    worst = 0.0
    for row, (loss, norm) in zip(ours[:compared], train(case, weights, tokens, steps)):
        worst = max(worst, abs(row["loss"] / loss - 1), abs(row["grad_norm"] / norm - 1))
    good = len(ours) == steps and worst <= bound
    print(f"{case:12} {dtype}  {compared} steps: worst relative difference {worst:.1e}, bound {bound:.0e}"
          f"  {'ok' if good else 'FAILED'}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("trident")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--case", choices=sorted(CASES))
    parser.add_argument("--threads", type=int, default=2, help="of Trident")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(1)
    # Words repeat, so that there is something to learn and the loss moves.
    words = [torch.randint(97, 123, (int(n),), generator=generator).tolist() + [32]
             for n in torch.randint(2, 7, (60,), generator=generator)]
    tokens = [t for i in torch.randint(0, 60, (4000,), generator=generator) for t in words[i]]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        write_data(os.path.join(folder, "data"), tokens)
        for case in [arguments.case] if arguments.case else CASES:
            for dtype, bound, compared in (("fp64", 1e-9, arguments.steps), ("fp32", 1e-5, min(10, arguments.steps))):
                good &= check(arguments.trident, case, dtype, arguments.steps, bound, compared, folder, tokens,
                              arguments.threads)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""A GPT-2 of eager PyTorch in fp32 and its optimizer, of the fastest parts that this PyTorch has:
scaled_dot_product_attention and the fused AdamW where they exist, otherwise a masked softmax and the foreach AdamW.
"""
import json
import math
import time

import torch
from torch.nn import functional as F

import models

HAS_SDPA = hasattr(F, "scaled_dot_product_attention")
HAS_FUSED_ADAMW = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)


class GPT2(torch.nn.Module):
    """From tokens and labels to their mean loss."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.weights = parameters(model)
        self.held = torch.nn.ParameterList(self.weights.values())  # a module's own names have no dots
        self.mask = torch.full((model.context, model.context), -math.inf).triu(1)

    def forward(self, inputs, labels):
        return loss_of(self.weights, self.model, self.mask, inputs, labels)


def parameters(model):
    """Weights by name, as GPT-2 has them: every projection with a bias, the head tied to the token embedding."""
    width = model.width

    def normal(*shape):
        return torch.nn.Parameter(torch.randn(shape) * 0.02)

    def constant(value, *shape):
        return torch.nn.Parameter(torch.full(shape, value))

    weights = {"tokens": normal(model.vocabulary, width), "positions": normal(model.context, width)}
    norms = ["final"]
    for layer in range(model.layers):
        for part, out, into in (("qkv", 3, 1), ("attended", 1, 1), ("up", 4, 1), ("down", 1, 4)):
            weights[f"{layer}.{part}"] = normal(out * width, into * width)
            weights[f"{layer}.{part}.bias"] = constant(0.0, out * width)
        norms += [f"{layer}.norm1", f"{layer}.norm2"]
    for norm in norms:
        weights[norm] = constant(1.0, width)
        weights[norm + ".bias"] = constant(0.0, width)
    return weights


def attention(qkv, model, mask):
    batch, length, _ = qkv.shape
    query, key, value = (
        part.view(batch, length, model.heads, -1).transpose(1, 2) for part in qkv.split(model.width, dim=2)
    )
    if HAS_SDPA:
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    else:
        scores = query @ key.transpose(2, 3) * (1.0 / math.sqrt(model.width // model.heads)) + mask
        mixed = scores.softmax(dim=-1) @ value
    return mixed.transpose(1, 2).reshape(batch, length, model.width)


def loss_of(weights, model, mask, inputs, labels):
    def project(x, part):
        return F.linear(x, weights[part], weights[part + ".bias"])

    def norm(x, part):
        return F.layer_norm(x, (model.width,), weights[part], weights[part + ".bias"])

    x = F.embedding(inputs, weights["tokens"]) + weights["positions"]
    for layer in range(model.layers):
        attended = attention(project(norm(x, f"{layer}.norm1"), f"{layer}.qkv"), model, mask)
        x = x + project(attended, f"{layer}.attended")
        inner = F.gelu(project(norm(x, f"{layer}.norm2"), f"{layer}.up"), approximate="tanh")
        x = x + project(inner, f"{layer}.down")
    logits = F.linear(norm(x, "final"), weights["tokens"])
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def adamw(weights):
    choice = {"fused": True} if HAS_FUSED_ADAMW else {"foreach": True}
    return torch.optim.AdamW(
        weights, lr=models.LEARNING_RATE, betas=models.BETAS, eps=models.EPS, weight_decay=models.WEIGHT_DECAY, **choice
    )


def train(module, model, sequences, steps, show):
    """Steps of `sequences` random sequences each; where `show`, prints a line of JSON after every step."""
    optimizer = adamw(module.parameters())
    batches = torch.randint(model.vocabulary, (16, sequences, model.context + 1))
    for step in range(steps):
        batch = batches[step % len(batches)]
        inputs, labels = batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = module(inputs, labels)
        loss.backward()
        optimizer.step()
        value = loss.item()
        seconds = time.perf_counter() - start
        if show:
            print(json.dumps({"step": step + 1, "loss": value, "step_s": seconds}), flush=True)

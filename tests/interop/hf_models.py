"""Tiny random Llama and GPT-2 models of transformers, and what transformers computes with them."""
import json

import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from support import run, write_megatron

VOCAB, POSITIONS = 61, 64
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]
NEW_TOKENS = 12
LLAMA = dict(vocab_size=VOCAB, hidden_size=48, intermediate_size=100, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=POSITIONS, bos_token_id=None, eos_token_id=None)
GPT2 = dict(vocab_size=VOCAB, n_embd=48, n_layer=3, n_head=4, n_positions=POSITIONS, resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, bos_token_id=None, eos_token_id=None)


def llama(**changes):
    return randomize(LlamaForCausalLM(LlamaConfig(**{**LLAMA, **changes})))


def gpt2(**changes):
    return randomize(GPT2LMHeadModel(GPT2Config(**{**GPT2, **changes})))


def randomize(model):
    """Larger weights than at initialisation, and gains and biases that are not 1 and 0, so that any mix-up shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.dim() == 1 and not name.endswith("bias")
            parameter.copy_(1 + 0.2 * noise if is_gain else 0.15 * noise)
    return model.eval()


def greedy(model, ids):
    """Continuation and the smallest lead of a best token, which tells whether rounding could change the choice."""
    ids, lead = list(ids), float("inf")
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            best = model(torch.tensor([ids])).logits[0, -1].topk(2)
            lead = min(lead, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
    return ids[-NEW_TOKENS:], lead


def check_generate(program, directory, model, *options):
    """Greedy continuation of PROMPT by the program is transformers'."""
    done = run(program, "generate", directory, "--ids", ",".join(map(str, PROMPT)), "--tokens", NEW_TOKENS,
               "--temperature", 0, "--json", *options)
    ids = json.loads(done.stdout)["ids"]
    expected, lead = greedy(model, PROMPT)
    assert lead > 1e-4, f"choose other weights: the best token leads by {lead} only"
    assert ids == expected, f"generate gave {ids}, transformers {expected}"


def mean_loss(model, ids, length):
    """Windows of `length` labels, each token but the first predicted once; the last window may be shorter."""
    total = 0.0
    with torch.no_grad():
        for begin in range(0, len(ids) - 1, length):
            window = torch.tensor(ids[begin:begin + length + 1])
            logits = model(window[None, :-1]).logits[0].double()
            total += float(F.cross_entropy(logits, window[1:], reduction="sum"))
    return total / (len(ids) - 1)


def check_eval(program, directory, model, work, bound, precision):
    """`eval` of a data set that another program wrote gives transformers' loss. Returns the relative difference."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(VOCAB, (7 * 24 + 5,), generator=generator).tolist()
    write_megatron(work / "eval", [[ids[:100]], [ids[100:]]], 8)
    done = run(program, "eval", directory, "--data", work / "eval", "--sequence-length", 24, "--batch-size", 3,
               "--precision", precision, "--json")
    result = json.loads(done.stdout)
    assert result["tokens"] == len(ids) - 1, result
    difference = abs(result["loss"] / mean_loss(model, ids, 24) - 1)
    assert difference <= bound, f"eval --precision {precision}: loss differs by {difference}, bound {bound}"
    return difference

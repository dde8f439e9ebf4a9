#!/usr/bin/env python3
"""Exchanges models with Hugging Face transformers in both directions.

usage: huggingface.py PROGRAM [--tolerance T]

For tiny random Llama and GPT-2 models, saved by transformers in one file and in shards:
  1. `PROGRAM generate` of the directory continues a prompt greedily as transformers does;
  2. `PROGRAM checkpoint import`, then `checkpoint export`, gives a directory whose weights are bit for bit the same
     and whose logits transformers computes the same;
  3. a model type and a setting that Trident lacks are refused by name;
  4. the byte tokenizer of an export gives byte values (only where the export wrote one).
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]
NEW_TOKENS = 12


def models():
    """(name, model, save_pretrained arguments)"""
    llama = dict(vocab_size=61, hidden_size=48, intermediate_size=100, num_hidden_layers=3, num_attention_heads=6,
                 num_key_value_heads=2, max_position_embeddings=64, bos_token_id=None, eos_token_id=None)
    gpt2 = dict(vocab_size=61, n_embd=48, n_layer=3, n_head=4, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0,
                attn_pdrop=0.0, bos_token_id=None, eos_token_id=None)
    yield "llama", LlamaForCausalLM(LlamaConfig(**llama)), {}
    yield "llama-tied", LlamaForCausalLM(LlamaConfig(**llama, tie_word_embeddings=True)), {}
    yield "llama-sharded", LlamaForCausalLM(LlamaConfig(**llama)), {"max_shard_size": "60KB"}
    yield "llama-head-dim", LlamaForCausalLM(LlamaConfig(**llama, head_dim=10)), {}
    yield "gpt2", GPT2LMHeadModel(GPT2Config(**gpt2)), {}
    yield "gpt2-sharded", GPT2LMHeadModel(GPT2Config(**gpt2)), {"max_shard_size": "60KB"}
    yield "gpt2-inner", GPT2LMHeadModel(GPT2Config(**gpt2, n_inner=100)), {}


def randomize(model):
    """Larger weights than at initialisation, and gains and biases that are not 1 and 0, so that any mix-up shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.dim() == 1 and not name.endswith("bias")
            parameter.copy_(1 + 0.2 * noise if is_gain else 0.15 * noise)
    return model.eval()


def run(*arguments, expect=0):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=300)
    if expect == 0 and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def greedy(model, ids):
    """Continuation and the smallest lead of a best token, which tells whether rounding could change the choice."""
    ids, lead = list(ids), float("inf")
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            best = model(torch.tensor([ids])).logits[0, -1].topk(2)
            lead = min(lead, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
    return ids[len(PROMPT):], lead


def check_generate(program, directory, model):
    done = run(program, "generate", directory, "--ids", ",".join(map(str, PROMPT)), "--tokens", NEW_TOKENS,
               "--temperature", 0, "--json")
    ids = json.loads(done.stdout)["ids"]
    expected, lead = greedy(model, PROMPT)
    assert lead > 1e-4, f"choose other weights: the best token leads by {lead} only"
    assert ids[-NEW_TOKENS:] == expected, f"generate gave {ids}, transformers {expected}"


def check_round_trip(program, directory, model, work, tolerance):
    run_dir, out = work / "run", work / "out"
    run(program, "checkpoint", "import", directory, "--out", run_dir)
    run(program, "checkpoint", "export", run_dir, "--out", out, "--dtype", "fp32")
    back = AutoModelForCausalLM.from_pretrained(out).eval()
    state, state_back = model.state_dict(), back.state_dict()
    assert state.keys() == state_back.keys(), state.keys() ^ state_back.keys()
    for name, values in state.items():
        assert torch.equal(values, state_back[name]), f"{name} changed on the way"
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        difference = float((model(ids).logits - back(ids).logits).abs().max())
    assert difference <= tolerance, f"logits differ by {difference}"
    check_tokenizer(out)

    half = work / "bf16"
    run(program, "checkpoint", "export", run_dir, "--out", half, "--dtype", "bf16")
    loaded = AutoModelForCausalLM.from_pretrained(half, torch_dtype="auto")
    assert loaded.dtype == torch.bfloat16
    for name, values in loaded.state_dict().items():
        assert torch.equal(values, state[name].to(torch.bfloat16)), f"{name} is not rounded to nearest even"


def check_tokenizer(directory):
    if not (directory / "tokenizer.json").exists():
        return
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    text = "".join(map(chr, range(128))) + " Grüße, 世界 🔱\n"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == list(text.encode()), "ids are not byte values"
    assert tokenizer.decode(ids) == text


def check_refusals(program, directory, work):
    path = directory / "config.json"
    original = path.read_text()
    llama = json.loads(original)["model_type"] == "llama"
    changes = [("model_type", "mistral"), ("attention_bias", True) if llama else ("activation_function", "gelu"),
               ("hidden_size" if llama else "n_embd", 96)]
    for key, value in changes:
        path.write_text(json.dumps({**json.loads(original), key: value}))
        done = run(program, "checkpoint", "import", directory, "--out", work / "refused", expect=65)
        assert done.returncode == 65, f"{key}={value}: exit {done.returncode}, expected 65\n{done.stderr}"
        assert str(directory) in done.stderr, done.stderr
        if key not in ("hidden_size", "n_embd"):  # a wrong size is named by the tensor that does not fit
            assert key in done.stderr, done.stderr
    path.write_text(original)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=0.0, help="of logits after the round trip")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, model, save_arguments in models():
        with tempfile.TemporaryDirectory(prefix="trident-interop-") as folder:
            work = pathlib.Path(folder)
            directory = work / name
            randomize(model).save_pretrained(directory, safe_serialization=True, **save_arguments)
            sharded = len(list(directory.glob("*.safetensors"))) > 1
            assert sharded == ("max_shard_size" in save_arguments), "transformers sharded otherwise than planned"
            check_generate(options.program, directory, model)
            check_round_trip(options.program, directory, model, work, options.tolerance)
            check_refusals(options.program, directory, work)
        print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()

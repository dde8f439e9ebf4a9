#!/usr/bin/env python3
"""Exchanges models with Hugging Face transformers in both directions.

usage: huggingface.py PROGRAM     exit 77 and one line "skipped: …" where transformers is missing

For tiny random Llama and GPT-2 models, saved by transformers in one file and in shards:
  1. `PROGRAM generate` of the directory continues a prompt greedily as transformers does;
  2. `PROGRAM eval` gives the loss that transformers gives, in fp32 and in fp64;
  3. `PROGRAM checkpoint import`, then `checkpoint export`, gives a directory whose weights are bit for bit the same
     and whose logits transformers computes the same; generate takes the imported run too; import, then export of
     that directory gives the same bytes;
  4. a model type and a setting that Trident lacks are refused by name;
  5. the byte tokenizer of an export gives byte values (only where the export wrote one).
"""
import json
import pathlib
import sys
import tempfile

try:
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    from hf_models import PROMPT, check_eval, check_generate, gpt2, llama
    from support import run
except ImportError as error:
    print(f"skipped: {error} (tests/interop/setup_venv.sh makes what is needed)")
    sys.exit(77)

SHARDED = {"max_shard_size": "60KB"}
# Relative, of a loss. transformers' Llama computes its norms and its rotary table in fp32 whatever the model's type.
LLAMA_BOUNDS = {"fp32": 5e-7, "fp64": 1e-7}
GPT2_BOUNDS = {"fp32": 5e-7, "fp64": 1e-12}


def models():
    """(name, model, save_pretrained arguments, bounds of the loss)"""
    yield "llama-gqa", llama(), {}, LLAMA_BOUNDS
    yield "llama-mha", llama(num_key_value_heads=6), {}, LLAMA_BOUNDS
    yield "llama-mqa", llama(num_key_value_heads=1), {}, LLAMA_BOUNDS
    yield "llama-tied", llama(tie_word_embeddings=True), {}, LLAMA_BOUNDS
    yield "llama-sharded", llama(), SHARDED, LLAMA_BOUNDS
    yield "llama-wide-heads", llama(head_dim=10), {}, LLAMA_BOUNDS
    yield "llama-two-wide-heads", llama(head_dim=2), {}, LLAMA_BOUNDS
    yield "llama-theta", llama(rope_theta=500000.0, rms_norm_eps=1e-3), {}, LLAMA_BOUNDS
    yield "gpt2", gpt2(), {}, GPT2_BOUNDS
    yield "gpt2-sharded", gpt2(), SHARDED, GPT2_BOUNDS
    yield "gpt2-inner", gpt2(n_inner=100, layer_norm_epsilon=1e-3), {}, GPT2_BOUNDS
    yield "gpt2-odd-heads", gpt2(n_embd=45, n_head=3), {}, GPT2_BOUNDS


def check_losses(program, directory, model, work, bounds):
    found = [check_eval(program, directory, model, work, bounds["fp32"], "fp32")]
    double = AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float64).eval()
    found.append(check_eval(program, directory, double, work, bounds["fp64"], "fp64"))
    return found


def check_round_trip(program, directory, model, work):
    run_dir, out = work / "run", work / "out"
    run(program, "checkpoint", "import", directory, "--out", run_dir)
    check_generate(program, run_dir, model)
    run(program, "checkpoint", "export", run_dir, "--out", out, "--dtype", "fp32")
    back = AutoModelForCausalLM.from_pretrained(out).eval()
    state, state_back = model.state_dict(), back.state_dict()
    assert state.keys() == state_back.keys(), state.keys() ^ state_back.keys()
    for name, values in state.items():
        assert torch.equal(values, state_back[name]), f"{name} changed on the way"
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, back(ids).logits), "logits differ"

    again, out_again = work / "run-again", work / "out-again"
    run(program, "checkpoint", "import", out, "--out", again)
    run(program, "checkpoint", "export", again, "--out", out_again)
    files = sorted(path.name for path in out.iterdir())
    assert files == sorted(path.name for path in out_again.iterdir()), files
    for name in files:
        assert (out / name).read_bytes() == (out_again / name).read_bytes(), f"import, then export changes {name}"

    half = work / "bf16"
    run(program, "checkpoint", "export", run_dir, "--out", half, "--dtype", "bf16")
    loaded = AutoModelForCausalLM.from_pretrained(half, torch_dtype="auto")
    assert loaded.dtype == torch.bfloat16
    for name, values in loaded.state_dict().items():
        assert torch.equal(values, state[name].to(torch.bfloat16)), f"{name} is not rounded to nearest even"


def check_refusals(program, directory, work):
    path = directory / "config.json"
    original = path.read_text()
    is_llama = json.loads(original)["model_type"] == "llama"
    changes = [("model_type", "mistral"), ("attention_bias", True) if is_llama else ("activation_function", "gelu"),
               ("hidden_size" if is_llama else "n_embd", 96)]
    if is_llama:
        changes += [("rope_scaling", {"rope_type": "yarn", "factor": 4.0}), ("head_dim", 9)]
    for key, value in changes:
        path.write_text(json.dumps({**json.loads(original), key: value}))
        done = run(program, "checkpoint", "import", directory, "--out", work / "refused", status=65)
        assert str(directory) in done.stderr, done.stderr
        if key not in ("hidden_size", "n_embd"):  # a wrong size is named by the tensor that does not fit
            assert key in done.stderr, done.stderr
    path.write_text(original)


def check_byte_tokenizer(program, work):
    """A run with the byte tokenizer is a whole Hugging Face directory: text to text."""
    job = work / "job.yaml"
    run(program, "tokenize", __file__, "--tokenizer", "byte", "--out", work / "data", "--no-progress")
    job.write_text(f"""
run: {{name: bytes, dir: {work}}}
model: {{architecture: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2,
        vocab_size: 256, max_position_embeddings: 64}}
tokenizer: {{kind: byte}}
data: {{train: {work}/data}}
training: {{sequence_length: 32, global_batch_size: 2, steps: 0}}
optimizer: {{lr: 1.0e-3}}
""")
    run(program, "train", job)
    directory = work / "bytes-hf"
    run(program, "checkpoint", "export", work / "bytes", "--out", directory)
    assert AutoModelForCausalLM.from_pretrained(directory).num_parameters() > 0
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"))
    text = "".join(map(chr, range(128))) + " Grüße, 世界 🔱\n"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == list(text.encode()), "ids are not byte values"
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = pathlib.Path(sys.argv[1]).resolve()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    for name, model, save_arguments, bounds in models():
        with tempfile.TemporaryDirectory(prefix="trident-interop-") as folder:
            work = pathlib.Path(folder)
            directory = work / name
            model.save_pretrained(directory, safe_serialization=True, **save_arguments)
            sharded = len(list(directory.glob("*.safetensors"))) > 1
            assert sharded == ("max_shard_size" in save_arguments), "transformers sharded otherwise than planned"
            check_generate(program, directory, model)
            losses = check_losses(program, directory, model, work, bounds)
            check_round_trip(program, directory, model, work)
            check_refusals(program, directory, work)
        print(f"ok {name:20}  loss differs by {losses[0]:.1e} in fp32, {losses[1]:.1e} in fp64", flush=True)
    with tempfile.TemporaryDirectory(prefix="trident-interop-") as folder:
        check_byte_tokenizer(program, pathlib.Path(folder))
        print("ok byte tokenizer")


if __name__ == "__main__":
    main()

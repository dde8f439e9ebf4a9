#!/usr/bin/env python3
"""Reads Hugging Face directories of many makers: other dtypes, spare tensors, bare names, their own tokenizers.

usage: huggingface_vendors.py PROGRAM     exit 77 and one line "skipped: …" where transformers is missing

A directory that says the same in another way must give transformers' own greedy continuation and loss; one that is
broken or means something else must be refused with exit code 65 and a message that names what is wrong.
"""
import json
import pathlib
import shutil
import sys
import tempfile

try:
    import torch
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, GPT2TokenizerFast
    from transformers.utils import logging

    from hf_models import NEW_TOKENS, VOCAB, check_eval, check_generate, gpt2, greedy, llama
    from support import run
except ImportError as error:
    print(f"skipped: {error} (tests/interop/setup_venv.sh makes what is needed)")
    sys.exit(77)

LOSS_BOUND = 5e-7


class Directory:
    """One that transformers wrote, to be changed in place."""

    def __init__(self, path, model):
        self.path = path
        model.save_pretrained(path, safe_serialization=True)

    def config(self, **changes):
        """A change to None removes the key."""
        path = self.path / "config.json"
        config = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))

    def tensors(self, change, metadata=True):
        path = self.path / "model.safetensors"
        tensors = {name: values.clone().contiguous() for name, values in change(load_file(path)).items()}
        save_file(tensors, path, metadata={"format": "pt"} if metadata else None)


# Each takes a Directory and says the same model in another way.

def to_dtype(dtype, name=None):
    def change(directory):
        directory.tensors(lambda tensors: {key: values.to(dtype) for key, values in tensors.items()})
        directory.config(torch_dtype=name)
    change.__name__ = f"{dtype}, said to be {name}"
    return change


def mixed_dtypes(directory):
    directory.tensors(lambda tensors: {key: values.to(torch.bfloat16 if values.dim() > 1 else torch.float32)
                                       for key, values in tensors.items()})


def dtype_key(directory):
    """As transformers 5 names it."""
    directory.config(torch_dtype=None, dtype="float32")


def without_prefix(directory):
    prefixes = ("model.", "transformer.")
    directory.tensors(lambda tensors: {
        next((key[len(p):] for p in prefixes if key.startswith(p)), key): values for key, values in tensors.items()})


def head_once_more(directory):
    directory.tensors(lambda tensors: {**tensors, "lm_head.weight": next(
        values.clone() for key, values in tensors.items() if key.endswith(("embed_tokens.weight", "wte.weight")))})


def llama_buffers(directory):
    directory.tensors(lambda tensors: {**tensors, **{
        f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in range(3)}})


def gpt2_buffers(directory):
    mask = torch.ones(64, 64, dtype=torch.bool).tril()[None, None]
    directory.tensors(lambda tensors: {**tensors, **{f"transformer.h.{i}.attn.bias": mask for i in range(3)},
                                       **{f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(3)}})


def no_metadata(directory):
    directory.tensors(lambda tensors: tensors, metadata=False)


def spare_keys(directory):
    directory.config(torch_dtype=None, architectures=None, transformers_version="4.99.0.dev0", _name_or_path="/a/b",
                     use_cache=False, eos_token_id=[2, 3], bos_token_id=1, pad_token_id=0, pretraining_tp=2,
                     task_specific_params={"text-generation": {"do_sample": True}})


def rope_parameters(directory):
    """As transformers 5 writes it."""
    directory.config(rope_theta=None, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})


def renamed_shards(directory):
    """Two files of free names and an index whose metadata is empty."""
    path = directory.path / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    names = sorted(tensors)
    parts = {"first.safetensors": names[::2], "second.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, directory.path / file, metadata={"format": "pt"})
    weight_map = {key: file for file, keys in parts.items() for key in keys}
    (directory.path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


COMMON = [to_dtype(torch.float16, "float16"), to_dtype(torch.bfloat16, "bfloat16"), to_dtype(torch.float64, "float64"),
          to_dtype(torch.float16), mixed_dtypes, dtype_key, no_metadata, spare_keys, renamed_shards]
SAME = {
    "llama": (llama, COMMON + [llama_buffers, rope_parameters]),
    "llama-tied": (lambda: llama(tie_word_embeddings=True), [without_prefix, head_once_more, to_dtype(torch.float16)]),
    "llama-untied-bare": (llama, [without_prefix]),
    "gpt2": (gpt2, COMMON + [without_prefix, head_once_more, gpt2_buffers]),
}


def reference(directory, model):
    """The model with the weights as they are stored now."""
    path = directory.path / "model.safetensors"
    if not path.exists():
        return model
    stored = load_file(path)
    state = {}
    for name, values in model.state_dict().items():
        bare = name.split(".", 1)[1]
        tensor = stored.get(name, stored.get(bare))
        if tensor is None:  # a tied head
            tensor = next(values for key, values in stored.items() if key.endswith(("embed_tokens.weight", "wte.weight")))
        state[name] = tensor.float()
    model.load_state_dict(state)
    return model


def check_same(program, kind, make, change, work):
    directory = Directory(work / "hf", make())
    change(directory)
    model = reference(directory, make())
    check_generate(program, directory.path, model)
    check_eval(program, directory.path, model, work, LOSS_BOUND, "fp32")
    run(program, "checkpoint", "import", directory.path, "--out", work / "run")
    check_generate(program, work / "run", model)
    run(program, "checkpoint", "export", work / "run", "--out", work / "out")
    back = AutoModelForCausalLM.from_pretrained(work / "out").state_dict()
    assert all(torch.equal(values, back[key]) for key, values in model.state_dict().items()), "export differs"
    print(f"ok {kind}: {change.__name__}", flush=True)


def dropped(name):
    return lambda tensors: {key: values for key, values in tensors.items() if not key.endswith(name)}


def check_refused(program, work):
    """Cases: what it is, change of the directory, words of the message, exit code if not 65."""
    def transposed(tensors):
        return {key: values.T if key.endswith("gate_proj.weight") else values for key, values in tensors.items()}

    def integers(tensors):
        return {key: values.to(torch.int32) if key.endswith("norm.weight") else values
                for key, values in tensors.items()}

    def truncate(directory):
        path = directory.path / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-5])

    cases = [
        ("a missing tensor", lambda d: d.tensors(dropped("2.mlp.up_proj.weight")), "layers.2.mlp.up_proj.weight"),
        ("an untied head left out", lambda d: d.tensors(dropped("lm_head.weight")), "lm_head.weight"),
        ("another shape", lambda d: d.tensors(transposed), "gate_proj.weight"),
        ("integers", lambda d: d.tensors(integers), "I32"),
        ("a tensor too many", lambda d: d.tensors(lambda t: {**t, "model.layers.0.self_attn.q_proj.bias":
                                                             torch.zeros(48)}), "q_proj.bias"),
        ("a head that is not tied", lambda d: d.config(tie_word_embeddings=True), "tie_word_embeddings"),
        ("layers too many", lambda d: d.config(num_hidden_layers=4), "layers.3"),
        ("quantised", lambda d: d.config(quantization_config={"bits": 4}), "quantization_config"),
        ("another task", lambda d: d.config(architectures=["LlamaForSequenceClassification"]), "architectures"),
        ("scaled rotary", lambda d: d.config(rope_scaling={"rope_type": "llama3", "factor": 8.0}), "rope_type"),
        ("a file cut short", truncate, "model.safetensors"),
        ("no safetensors", lambda d: (d.path / "model.safetensors").rename(d.path / "pytorch_model.bin"),
         "safe_serialization=True", 66),
        ("no JSON", lambda d: (d.path / "config.json").write_text("{"), "config.json"),
    ]
    for what, change, words, *status in cases:
        directory = Directory(work / "broken", llama())
        change(directory)
        for arguments in (("generate", directory.path, "--ids", "1"),
                          ("checkpoint", "import", directory.path, "--out", work / "refused")):
            done = run(program, *arguments, status=status[0] if status else 65)
            assert words in done.stderr and "this is a bug" not in done.stderr, f"{what}: {done.stderr}"
        assert not (work / "refused" / "checkpoints" / "latest").exists()
        shutil.rmtree(directory.path)
        print(f"ok refused: {what}", flush=True)


def small_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator([pathlib.Path(__file__).read_text()], trainer)
    return tokenizer


def check_tokenizer_files(program, work):
    """Text to text with the tokenizer that transformers saved beside the weights: tokenizer.json or GPT-2's pair."""
    tokenizer = small_tokenizer()
    model = gpt2(vocab_size=tokenizer.get_vocab_size())
    assert model.config.vocab_size > VOCAB
    prompt = "def  check(model):\n\treturn 'Grüße' 世界"
    ids = tokenizer.encode(prompt).ids
    for saved in ("tokenizer.json", "vocab.json"):
        directory = Directory(work / saved, model).path
        if saved == "tokenizer.json":
            tokenizer.save(str(directory / saved))
        else:
            tokenizer.model.save(str(directory))
        theirs = GPT2TokenizerFast.from_pretrained(directory)
        assert theirs.encode(prompt) == ids
        found = run(program, "tokenize", "--tokenizer", directory, "--ids", prompt).stdout.split()
        assert found == [str(i) for i in ids], found
        continuation, lead = greedy(model, ids)
        assert lead > 1e-4
        eos = tokenizer.token_to_id("<|endoftext|>")
        assert eos not in continuation
        run(program, "checkpoint", "import", directory, "--out", work / f"run-{saved}")
        for source in (directory, work / f"run-{saved}"):
            done = run(program, "generate", source, "--prompt", prompt, "--tokens", NEW_TOKENS, "--temperature", 0,
                       "--json")
            result = json.loads(done.stdout)
            assert result["ids"] == continuation, result
            expected = theirs.decode(ids + continuation, clean_up_tokenization_spaces=False)
            assert result["text"] == expected, (result["text"], expected)
        print(f"ok tokenizer from {saved}", flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = pathlib.Path(sys.argv[1]).resolve()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    for kind, (make, changes) in SAME.items():
        for change in changes:
            with tempfile.TemporaryDirectory(prefix="trident-interop-") as folder:
                check_same(program, kind, make, change, pathlib.Path(folder))
    with tempfile.TemporaryDirectory(prefix="trident-interop-") as folder:
        check_refused(program, pathlib.Path(folder))
        check_tokenizer_files(program, pathlib.Path(folder))


if __name__ == "__main__":
    main()

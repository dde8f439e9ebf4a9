#!/usr/bin/env python3
"""Opens checkpoints that ranks wrote together with h5py, as whole tensors.

usage: checkpoint_view.py PROGRAM     exit 77 and one line "skipped: …" where h5py or mpirun is missing

For trainings of four ranks, with dp, tp and pp, ZeRO pieces that begin inside a row, tied and untied heads:
  1. every tensor under /model of master.h5 equals what `checkpoint export` writes, and none is missing, from another
     working directory and after the folder was moved;
  2. the moments under /optimizer have the tensors' shapes; where one rank computes the same bits, they are equal to
     its moments;
  3. the arrays of the ranks' own files, put together by their tables, give the same tensors and moments.
"""
import json
import os
import pathlib
import shutil
import sys
import tempfile

try:
    import h5py
    import numpy as np

    from support import run
except ImportError as error:
    print(f"skipped: {error} (launch/setup.sh interop)")
    sys.exit(77)

if shutil.which("mpirun") is None:
    print("skipped: no mpirun")
    sys.exit(77)

SIZES = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=4, num_attention_heads=4, vocab_size=259,
             max_position_embeddings=64)
LLAMA = dict(SIZES, architecture="llama", num_key_value_heads=2)
GPT2 = dict(SIZES, architecture="gpt2")
CASES = [("llama-dp2-tp2", LLAMA, dict(dp=2, tp=2), False), ("llama-dp2-pp2", LLAMA, dict(dp=2, pp=2), True),
         ("gpt2-tp2-pp2", GPT2, dict(tp=2, pp=2), False), ("gpt2-dp4", GPT2, dict(dp=4), True)]
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_btl_base_warn_component_unused": "0"}


def flow(mapping):
    return json.dumps(mapping).replace('"', "")


def train(program, work, name, model, layout, ranks):
    job = work / "job.yaml"
    job.write_text(f"""
run: {{name: {name}, dir: {work}/runs}}
device: cpu
model: {flow(model)}
data: {{train: {work}/data}}
parallelism: {flow({"logical_shards": 4, **layout})}
training: {{sequence_length: 32, global_batch_size: 8, micro_batch_size: 1, steps: 3, threads: 1}}
optimizer: {{lr: 1.0e-3}}
lr_schedule: {{warmup_steps: 0}}
evaluation: {{interval_steps: 0}}
logging: {{tensorboard: false}}
""")
    start = ["mpirun", "--oversubscribe", "-n", ranks] if ranks > 1 else []
    run(*start, program, "train", job, env=ENVIRONMENT)
    folder = work / "runs" / name / "checkpoints" / "step_00000003"
    return folder.rename(work / f"{name}-moved")


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[slice(*info["data_offsets"])], "<f4").reshape(info["shape"])
            for name, info in header.items()}


def llama_names(exported):
    """Trident's names of the tensors of an export."""
    parts = {"input_layernorm": "attention_norm", "post_attention_layernorm": "mlp_norm", "self_attn.q_proj": "attention/query",
             "self_attn.k_proj": "attention/key", "self_attn.v_proj": "attention/value",
             "self_attn.o_proj": "attention/output", "mlp.gate_proj": "mlp/gate", "mlp.up_proj": "mlp/up",
             "mlp.down_proj": "mlp/down"}
    ends = {"model.embed_tokens.weight": "embedding/weight", "model.norm.weight": "final_norm/weight",
            "lm_head.weight": "head/weight"}
    for name, values in exported.items():
        if name in ends:
            yield ends[name], values
        else:
            _, _, layer, part = name.split(".", 3)
            yield f"layers/{layer}/{parts[part.removesuffix('.weight')]}/weight", values


def gpt2_names(exported):
    """The same; linear layers are stored transposed, query, key and value side by side."""
    parts = {"ln_1": "attention_norm", "ln_2": "mlp_norm", "attn.c_proj": "attention/output", "mlp.c_fc": "mlp/up",
             "mlp.c_proj": "mlp/down"}
    ends = {"transformer.wte.weight": "embedding/weight", "transformer.wpe.weight": "position_embedding/weight",
            "transformer.ln_f.weight": "final_norm/weight", "transformer.ln_f.bias": "final_norm/bias"}
    for name, values in exported.items():
        if name in ends:
            yield ends[name], values
            continue
        _, _, layer, rest = name.split(".", 3)
        part, kind = rest.rsplit(".", 1)
        values = values.T if values.ndim == 2 else values
        if part == "attn.c_attn":
            for third, projection in zip(np.split(values, 3), ("query", "key", "value")):
                yield f"layers/{layer}/attention/{projection}/{kind}", third
        else:
            yield f"layers/{layer}/{parts[part]}/{kind}", values


def datasets(group):
    found = {}
    group.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def check_model(program, folder, view, names):
    exported = folder.with_name(folder.name + "-hf")
    run(program, "checkpoint", "export", folder, "--out", exported)
    expected = dict(names(read_safetensors(exported / "model.safetensors")))
    found = datasets(view["model"])
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    for name, values in expected.items():
        assert same_bits(found[name], np.ascontiguousarray(values)), f"/model/{name} is not what the export has"
    return found


def check_moments(view, model, one_rank):
    for kind in ("exp_avg", "exp_avg_sq"):
        moments = datasets(view[f"optimizer/{kind}"])
        assert moments.keys() == model.keys(), moments.keys() ^ model.keys()
        for name, values in moments.items():
            assert values.shape == model[name].shape and np.isfinite(values).all(), f"{kind} of {name}"
        assert sum(np.count_nonzero(values) for values in moments.values()) > 0, f"{kind} is zero"
        if one_rank is not None:
            expected = datasets(one_rank[f"optimizer/{kind}"])
            for name, values in moments.items():
                assert same_bits(values, expected[name]), f"{kind} of {name} is not what one rank computes"


def put_together(folder, kind):
    """Whole tensors from the arrays of the ranks' own files, by their tables of segments."""
    whole = {}
    for rank in range(4):
        with h5py.File(folder / f"rank_{rank:05}.h5", "r") as file:
            assert int(file.attrs["rank"]) == rank and int(file.attrs["step"]) == 3
            array, tensors = file[f"optim/{kind}"][()], file["tensors"][()]
            for segment in file["segments"][()]:
                name, shape = (tensors[segment["tensor"]][key] for key in ("name", "shape"))
                shape = [int(n) for n in shape if n > 0]
                tensor = whole.setdefault(name.decode().replace(".", "/"), np.full(shape, np.nan, "<f4"))
                rows, columns = int(segment["rows"]), int(segment["columns"])
                begin, row, column = (int(segment[key]) for key in ("offset", "row0", "column0"))
                block = array[begin:begin + rows * columns].reshape(rows, columns)
                tensor.reshape(shape[0], -1)[row:row + rows, column:column + columns] = block
    return whole


def check_rank_files(folder, view):
    for kind, group in (("master", "model"), ("exp_avg", "optimizer/exp_avg"), ("exp_avg_sq", "optimizer/exp_avg_sq")):
        whole, found = put_together(folder, kind), datasets(view[group])
        assert whole.keys() == found.keys(), whole.keys() ^ found.keys()
        for name, values in whole.items():
            assert same_bits(found[name], values), f"/{group}/{name} is not what the rank files hold as {kind}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="trident-interop-") as name:
        work = pathlib.Path(name)
        run(program, "tokenize", __file__, "--tokenizer", "byte", "--out", work / "data", "--no-progress")
        os.chdir("/")
        for name, model, layout, same_as_one in CASES:
            folder = train(program, work, name, model, layout, 4)
            alone = train(program, work, name + "-alone", model, {}, 1) if same_as_one else None
            with h5py.File(folder / "master.h5", "r") as view:
                found = check_model(program, folder, view, llama_names if model is LLAMA else gpt2_names)
                check_rank_files(folder, view)
                if alone is None:
                    check_moments(view, found, None)
                else:
                    with h5py.File(alone / "master.h5", "r") as one_rank:
                        check_moments(view, found, one_rank)
            print(f"ok {name:14} {len(found)} tensors", flush=True)


if __name__ == "__main__":
    main()

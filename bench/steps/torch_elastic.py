"""Trains as torch_ddp.py does, under torchrun, and goes on from its last torch.save; run by recovery_torchrun.py.

    torchrun ... torch_elastic.py MODEL FOLDER SAVE_EVERY

Every rank writes its process to FOLDER/pid.ATTEMPT.RANK; rank 0 appends a line of JSON to FOLDER/metrics.jsonl after every
step, and writes weights, optimizer and step to FOLDER/state.pt every SAVE_EVERY steps.
"""
import json
import os
import pathlib
import sys

import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

import models
import torch_model

model, folder, save_every = models.MODELS[sys.argv[1]], pathlib.Path(sys.argv[2]), int(sys.argv[3])
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"]) + 1
torch.distributed.init_process_group("gloo")
rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
(folder / f"pid.{attempt}.{rank}").write_text(str(os.getpid()))
torch.manual_seed(1)
module = DistributedDataParallel(torch_model.GPT2(model), gradient_as_bucket_view=True)
optimizer = torch_model.adamw(module.parameters())
done, state = 0, folder / "state.pt"
if state.exists():
    saved = torch.load(state)
    module.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["optimizer"])
    done = saved["step"]

batches = torch.randint(model.vocabulary, (16, model.batch // ranks, model.context + 1))
while True:
    batch = batches[done % len(batches)]
    optimizer.zero_grad(set_to_none=True)
    loss = module(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
    loss.backward()
    optimizer.step()
    done += 1
    if rank != 0:
        continue
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as metrics:
        metrics.write(json.dumps({"attempt": attempt, "step": done, "loss": loss.item()}) + "\n")
    if done % save_every == 0:
        torch.save(
            {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": done}, folder / "state.part"
        )
        os.replace(folder / "state.part", state)

"""Trains as torch_gpt2.py does, on several processes with DistributedDataParallel over gloo; rank 0 prints.

    mpirun -n RANKS torch_ddp.py MODEL THREADS STEPS

mpirun only starts and binds the ranks, as it does Trident's. The batch is shared between them; TMPDIR, an empty folder,
is where they meet.
"""
import os
import sys

import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

import models
import torch_model

name, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rank, ranks = int(os.environ["OMPI_COMM_WORLD_RANK"]), int(os.environ["OMPI_COMM_WORLD_SIZE"])
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all ranks are on this machine
meeting = f"file://{os.environ['TMPDIR']}/ranks"
torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
torch.set_num_threads(threads)
torch.manual_seed(1)
model = models.MODELS[name]
# Gradients that lie in the buckets are not copied into them.
module = DistributedDataParallel(torch_model.GPT2(model), gradient_as_bucket_view=True)
torch_model.train(module, model, model.batch // ranks, steps, show=rank == 0)

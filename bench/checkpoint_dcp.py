#!/usr/bin/env python3
"""How long PyTorch's distributed checkpoint keeps its caller: `async_save` of so many bytes, beside `save` and `torch.save`.

One process, tensors on the CPU, PyTorch 2.x (Debian's 1.13 has no async_save). The stall is the time of the call; the
whole time is until the future is done, with the files written.

    bench/checkpoint_dcp.py [--mib 265] [--rounds 7] [--folder /tmp]
"""
import argparse
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=265)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    try:
        import torch
        import torch.distributed as dist
        import torch.distributed.checkpoint as dcp
        dcp.async_save  # noqa: B018
    except (ImportError, AttributeError) as error:
        print(f"not measured: {error}")
        sys.exit(77)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29511")
    dist.init_process_group("gloo", rank=0, world_size=1)
    elements = options.mib * 2**20 // 4 // 12
    state = {str(i): torch.rand(elements) for i in range(12)}
    stalls, wholes, synchronous, plain = [], [], [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = pathlib.Path(name)
        for turn in range(options.rounds + 1):  # the first one warms up
            stall, future = seconds(lambda: dcp.async_save(state, checkpoint_id=str(folder / "async")))
            rest, _ = seconds(future.result)
            whole, _ = seconds(lambda: dcp.save(state, checkpoint_id=str(folder / "sync")))
            saved, _ = seconds(lambda: torch.save(state, folder / "torch.pt"))
            if turn > 0:
                stalls.append(stall)
                wholes.append(stall + rest)
                synchronous.append(whole)
                plain.append(saved)
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    dist.destroy_process_group()
    print(f"PyTorch {torch.__version__}, {options.mib} MiB, median of {options.rounds}:")
    print(f"  dcp.async_save keeps the caller {statistics.median(stalls) * 1e3:.0f} ms "
          f"({min(stalls) * 1e3:.0f} to {max(stalls) * 1e3:.0f}), is done after {statistics.median(wholes) * 1e3:.0f} ms")
    print(f"  dcp.save {statistics.median(synchronous) * 1e3:.0f} ms, torch.save without fsync {statistics.median(plain) * 1e3:.0f} ms")


main()

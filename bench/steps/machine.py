"""The machine of a comparison: what it is, its peak, and how measured processes come before others."""
import json
import os
import pathlib
import platform
import subprocess

import programs


def fma_peak(build, threads):
    command = [build / "bench" / "fma_peak", str(threads), "3"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def describe(pythons):
    with open("/proc/cpuinfo", encoding="ascii") as file:
        facts = dict(map(str.strip, line.split(":", 1)) for line in file if ":" in line)
    fields = [f"{key} {facts.get(key, '?')}" for key in ("model name", "cpu family", "model")]
    print(f"machine: {', '.join(fields)}; {os.cpu_count()} CPUs; Linux {platform.release()}")
    found = {key: value for key, value in os.environ.items() if key.startswith(("OPENBLAS", "OMP", "MKL", "BLIS"))}
    print(f"environment: {found or 'nothing that concerns BLAS or OpenMP'}; niceness {os.nice(0)}")
    for python in filter(None, pythons):
        print(f"{python}: PyTorch {programs.describe(python) or 'not there'}")


def prefer(nice):
    """Sets the niceness of this process and what it starts. Linux weighs sessions first, where it groups by them."""
    os.nice(nice)
    group = pathlib.Path("/proc/self/autogroup")
    if group.exists():
        if os.getpgrp() != os.getpid():
            os.setsid()
        group.write_text(str(nice))

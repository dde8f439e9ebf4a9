#!/usr/bin/env python3
"""From a crash to the first new step: ranks of a running job are killed and stopped again and again under `trident launch`,
and, with --only node, nodes are switched off (two network namespaces; needs root).

Medians and extremes over the faults of one run each. Times are those of a watcher outside: from the signal to the
verdict's line in events.jsonl, and to the first row of the next start in metrics.jsonl. What the heartbeat costs is
measured by bench_heartbeat: nanoseconds a beat, times the beats a second of the running ranks.

    bench/recovery.py [--faults 10] [--only node] [--build build] [--model S] [--ranks 4]
"""
import argparse
import array
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "steps"))
import models  # noqa: E402
from needs import need  # noqa: E402

POLL_S = 0.002
PATIENCE_S = 120


def rows(path):
    """The whole lines of a file that grows."""
    if not path.exists():
        return []
    text = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in text]


def wait_for(run, find):
    """What `find` finds, and when."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and run.agent.poll() is None:
        found = find()
        if found:
            return found, time.time()
        time.sleep(POLL_S)
    raise SystemExit("recovery: nothing happened in time: " + pathlib.Path(run.log.name).read_text()[-3000:])


def run_command(*words, check=True):
    return subprocess.run(words, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


class TwoNodes:
    """Networks, host names and /dev/shm of their own, joined by a cable; the job is coordinated from the first."""

    names = ("node-a", "node-b")

    def __init__(self, folder, ranks):
        self.folder = folder
        (folder / "hosts").write_text("127.0.0.1 localhost\n10.213.79.1 node-a\n10.213.79.2 node-b\n")
        (folder / "hostfile").write_text("".join(f"{name} slots={(ranks + 1) // 2}\n" for name in self.names))
        shell = folder / "shell"
        shell.write_text(f"#!/bin/bash\nhost=$1; shift\nread -r target <{folder}/holder.$host || exit 255\n"
                         'exec nsenter --target "$target" --mount --uts --net bash -c "$*"\n')
        shell.chmod(0o755)

    def build(self):
        for name in self.names:
            run_command("ip", "netns", "add", self.space(name))
        run_command("ip", "link", "add", "link0", "netns", self.space("node-a"), "type", "veth", "peer", "name", "link0",
                    "netns", self.space("node-b"))
        for number, name in enumerate(self.names, 1):
            run_command("ip", "-n", self.space(name), "address", "add", f"10.213.79.{number}/24", "dev", "link0")
            run_command("ip", "-n", self.space(name), "link", "set", "dev", "lo", "up")
            self.switch_on(name)

    @staticmethod
    def space(name):
        return f"recovery-{os.getpid()}-{name}"

    def enter(self, name):
        pid = (self.folder / f"holder.{name}").read_text().strip()
        return ["nsenter", "--target", pid, "--mount", "--uts", "--net", f"--wdns={os.getcwd()}"]

    def switch_on(self, name):
        run_command("ip", "-n", self.space(name), "link", "set", "dev", "link0", "up")
        holder = self.folder / f"holder.{name}"
        script = ('hostname "$0" && mount --make-rprivate / && mount -t tmpfs tmpfs /dev/shm && '
                  'mount --bind "$1" /etc/hosts && echo $$ >"$2.new" && mv "$2.new" "$2" && exec sleep 100000')
        subprocess.Popen(["ip", "netns", "exec", self.space(name), "unshare", "--mount", "--uts", "bash", "-c", script,
                          name, str(self.folder / "hosts"), str(holder)])
        while not holder.exists():
            time.sleep(POLL_S)

    def switch_off(self, name):
        """The cable first: nothing of the end can be heard."""
        run_command("ip", "-n", self.space(name), "link", "set", "dev", "link0", "down", check=False)
        (self.folder / f"holder.{name}").unlink(missing_ok=True)
        pids = subprocess.run(["ip", "netns", "pids", self.space(name)], check=False, capture_output=True, text=True).stdout
        for pid in pids.split():
            run_command("kill", "-KILL", pid, check=False)

    def remove(self):
        for name in self.names:
            self.switch_off(name)
            run_command("ip", "netns", "delete", self.space(name), check=False)


class Run:
    def __init__(self, options, folder, name, nodes=None):
        self.folder = folder / name
        words = (nodes.enter("node-a") if nodes else []) + [
            str(options.build / "trident"), "launch", str(folder / "m.yaml"), f"run.dir={folder}", f"run.name={name}",
            "training.steps=1000000", "parallelism.dp=auto", f"checkpoint.interval_steps={options.checkpoint}",
            "training.threads=1", "fault.max_restarts=1000", "--ranks", str(options.ranks), "--mpirun=--oversubscribe",
        ]
        if nodes:
            words += ["--hostfile", str(folder / "hostfile"), "--remote-shell", str(folder / "shell")]
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        self.log = open(folder / f"{name}.log", "w", encoding="utf-8")
        self.agent = subprocess.Popen(words, env=environment, stderr=self.log)

    def steps(self, attempt):
        return [row for row in rows(self.folder / "metrics.jsonl") if "loss" in row and row["attempt"] == attempt]

    def events(self, kind):
        return [row for row in rows(self.folder / "events.jsonl") if row["event"] == kind]

    def gang(self):
        """Epoch and process ids of the newest gang that runs whole."""
        gangs = [row for row in rows(self.folder / "epochs.jsonl") if row["event"] == "workers"]
        return gangs[-1] if gangs else None

    def end(self):
        self.agent.send_signal(signal.SIGTERM)
        code = self.agent.wait(PATIENCE_S)
        self.log.close()
        if code != 75:
            raise SystemExit(f"recovery: the agent ended with {code}; see {self.log.name}")


def one_fault(run, rank, number):
    """Seconds to the fault's line, and to the first new step; whether the right rank was named."""
    gang, _ = wait_for(run, run.gang)
    epoch = gang["epoch"]
    wait_for(run, lambda: len(run.steps(epoch)) >= 5)
    known = len(run.events("verdict"))
    begun = time.time()
    os.kill(gang["pids"][rank], number)
    verdicts, seen = wait_for(run, lambda: run.events("verdict")[known:])
    _, stepped = wait_for(run, lambda: run.steps(epoch + 1))
    wait_for(run, lambda: (run.gang() or {"epoch": 0})["epoch"] == epoch + 1)
    return seen - begun, stepped - begun, verdicts[0].get("rank") == rank


def report(title, results):
    for what, column in (("detected", 0), ("first new step", 1)):
        values = [result[column] for result in results]
        print(f"{title:12} {what:15} median {statistics.median(values):6.3f} s   "
              f"least {min(values):6.3f}   most {max(values):6.3f}   of {len(values)}")
    print(f"{title:12} culprit named   {sum(result[2] for result in results)} of {len(results)}", flush=True)


def measure(options, folder, title, number):
    run = Run(options, folder, title)
    try:
        random_rank = random.Random(options.seed)
        results = [one_fault(run, random_rank.randrange(options.ranks), number) for _ in range(options.faults)]
        run.end()
    finally:
        if run.agent.poll() is None:
            run.agent.kill()
    report(title, results)
    again = len([row for row in rows(run.folder / "metrics.jsonl") if "loss" in row])
    again -= len({row["step"] for row in rows(run.folder / "metrics.jsonl") if "loss" in row})
    if options.verbose:
        print("\n".join(row["detail"] for row in run.events("restart")))
    print(f"{title:12} steps done again {again} in {options.faults} restarts", flush=True)
    seconds = [row["seconds"] for row in run.events("resume")]
    print(f"{title:12} state restored  median {statistics.median(seconds):6.3f} s   "
          f"least {min(seconds):6.3f}   most {max(seconds):6.3f}   of {len(seconds)}", flush=True)


def one_lost_node(options, folder, nodes, number):
    run = Run(options, folder, f"node{number}", nodes)
    try:
        wait_for(run, lambda: (run.folder / "checkpoints" / "latest").exists() and run.gang())
        begun = time.time()
        nodes.switch_off("node-b")
        verdicts, seen = wait_for(run, lambda: run.events("verdict"))
        _, stepped = wait_for(run, lambda: run.steps(2))
        wait_for(run, lambda: run.gang()["epoch"] == 2)
        run.end()
    finally:
        # The job's process is a child of nsenter's own, which it replaced.
        if run.agent.poll() is None:
            run.agent.kill()
    nodes.switch_on("node-b")
    return seen - begun, stepped - begun, verdicts[0]["cause"] == "node lost" and verdicts[0]["host"] == "node-b"


def measure_lost_nodes(options, folder):
    nodes = TwoNodes(folder, options.ranks)
    try:
        nodes.build()
        report("node off", [one_lost_node(options, folder, nodes, i) for i in range(options.faults)])
    finally:
        nodes.remove()


def write_job(model, folder):
    tokens = array.array("H", (random.Random(1).randrange(model.vocabulary) for _ in range(200_000)))
    (folder / "data.bin").write_bytes(tokens.tobytes())
    (folder / "m.yaml").write_text(
        f"""model: {{architecture: gpt2, hidden_size: {model.width}, num_hidden_layers: {model.layers},
        num_attention_heads: {model.heads}, vocab_size: {model.vocabulary}, max_position_embeddings: {model.context}}}
tokenizer: {{kind: byte}}
data: {{train: {folder}/data.bin}}
training: {{sequence_length: {model.context}, global_batch_size: {model.batch}, micro_batch_size: 2}}
optimizer: {{lr: 1.0e-4}}
lr_schedule: {{name: constant, warmup_steps: 0}}
evaluation: {{interval_steps: 0}}
logging: {{tensorboard: false, interval_steps: 100000}}
""",
        encoding="utf-8",
    )


def heartbeat_cost(options, folder):
    run = Run(options, folder, "heartbeat")
    try:
        wait_for(run, lambda: len(run.steps(1)) >= 5)
        names = [path.name for path in pathlib.Path("/dev/shm").glob("trident.*.heartbeat.1")]
        if len(names) == 1:
            subprocess.run([str(options.build / "bench" / "bench_heartbeat"), "/" + names[0]], check=True)
        run.end()
    finally:
        if run.agent.poll() is None:
            run.agent.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=10)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--model", choices=models.MODELS, default="S")
    parser.add_argument("--checkpoint", type=int, default=100, help="steps between checkpoints on disk")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("heartbeat", "crash", "hang", "node"))
    parser.add_argument("--verbose", action="store_true", help="the agent's own words for each restart")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build")
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended first
    need(options.build / "trident", "mpirun", *(("ip", "nsenter", "unshare") if options.only == "node" else ()))
    if options.only == "node" and os.geteuid() != 0:
        sys.exit("recovery.py: --only node makes network namespaces, which only root may")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = pathlib.Path(name)
        write_job(models.MODELS[options.model], folder)
        print(f"model {options.model}, {options.ranks} ranks, {os.cpu_count()} processors")
        if options.only in (None, "heartbeat"):
            heartbeat_cost(options, folder)
        if options.only in (None, "crash"):
            measure(options, folder, "crash", signal.SIGKILL)
        if options.only in (None, "hang"):
            measure(options, folder, "hang", signal.SIGSTOP)
        if options.only == "node":
            measure_lost_nodes(options, folder)


if __name__ == "__main__":
    main()

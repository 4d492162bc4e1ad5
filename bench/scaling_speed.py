"""Records a second of stage-1 training by one process and by several that share its threads, in turn.

One JSON line: the mean rate of each, and their ratio (1: several lose nothing).
    .venv/bin/python bench/scaling_speed.py [--rounds N] [--processes N]
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "build" / "demo" / "data"
EVERY = 10  # steps between lines of the log


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def rates_of(program, folder, processes, threads, steps):
    """Records a second over each stretch of a run's log, without the first."""
    output = tempfile.mkdtemp(dir=folder)
    settings = {"init": ROOT / "build" / "tiny", "data.train": DATA / "emoji_train.jsonl", "batch_size": 64,
                "data.cache": ROOT / ".cache" / "features", "data.views": 0, "steps": steps, "log_every": EVERY,
                "checkpoint.every": steps, "dropout": 0}
    command = [program, "train", ROOT / "recipes" / "tiny_stage1.toml", "--output", output, "--threads", threads,
               *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]
    place = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    runs = [subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL,
                             env={**os.environ, **{key: str(value) for key, value in (place | {"RANK": rank}).items()}})
            for rank in range(processes)]
    if any([run.wait() for run in runs]):
        sys.exit(f"a run of {processes} processes failed")
    lines = [json.loads(line) for line in (pathlib.Path(output) / "log.jsonl").open()]
    return [line["samples_per_second"] for line in lines if line["step"] > EVERY and "loss" in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", str(ROOT / "build")))
    args = parser.parse_args()
    if not (DATA / "emoji_train.jsonl").exists():
        subprocess.run([sys.executable, ROOT / "tools" / "prepare_demo_data.py"], check=True, stdout=sys.stderr)
    rates = {1: [], args.processes: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for processes, threads in ((1, args.processes), (args.processes, 1)):
                rates[processes] += rates_of(f"{args.build}/blip2", folder, processes, threads, args.steps)
    means = {processes: statistics.harmonic_mean(values) for processes, values in rates.items()}
    print(json.dumps({"records_per_second": means, "scaling": means[args.processes] / means[1]}))


if __name__ == "__main__":
    main()

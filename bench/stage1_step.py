"""Seconds of a stage-1 training step here and in eager PyTorch (bf16 autocast), and their ratio.

Both run in turn, several times, so that a busy machine slows both; prints one JSON line.
    .venv/bin/python bench/stage1_step.py [--rounds N] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Floating-point operations of the products that one step cannot do without at the shape below, forward and
# backward: each picture's keys and values once, equal rows once, no row that no loss reads.
STEP_GFLOP = 307


def measure(command: list[str], threads: int) -> float:
    environment = {**os.environ, "THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(out.stdout.splitlines()[-1])["seconds_per_step"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", str(ROOT / "build")))
    args = parser.parse_args()
    ours_command = [f"{args.build}/probe/qformer", "bench", "48", "8", "12", "49", str(args.steps), "bf16"]
    peer_command = [sys.executable, str(ROOT / "bench/stage1_peer.py")]
    peer_command += ["--steps", str(args.steps), "--warmup", "1", "--threads", str(args.threads)]
    ours, peer = [], []
    for _ in range(args.rounds):
        ours.append(measure(ours_command, args.threads))
        peer.append(measure(peer_command, args.threads))
    best_ours, best_peer = min(ours), min(peer)
    line = {
        "stage1_step_seconds": best_ours,
        "eager_seconds": best_peer,
        "ratio": best_peer / best_ours,
        "gflops": STEP_GFLOP / best_ours,
        "threads": args.threads,
        "all": {"ours": ours, "eager": peer},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()

"""Seconds of a training step here and in eager PyTorch, and their ratios: one JSON line a shape.

Ours and the peers run in turn, several times, so that a busy machine slows all; the best of each
counts. The paper's shape takes minutes: --shapes demo1 demo2 leaves it out.
    .venv/bin/python bench/training_speed.py [--rounds N] [--shapes NAME ...]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMOLLM2 = ROOT / ".cache/models/smollm2-135m-instruct.gguf"
# What each shape measures: stage, its numbers, our number types, and the peers' flags.
SHAPES = {
    "demo1": (1, {"batch": 48, "queries": 8, "tokens": 12, "least_tokens": 12, "positions": 49,
                  "features": 1280, "width": 384, "layers": 6, "heads": 12}, ["bf16"], [[]]),
    "demo2": (2, {"batch": 32, "queries": 8, "tokens": 20, "answer": 3, "positions": 49,
                  "features": 1280, "width": 384, "layers": 6, "heads": 12}, ["bf16"], [[]]),
    "paper1": (1, {"batch": 16, "queries": 32, "tokens": 32, "least_tokens": 8, "positions": 257,
                   "features": 1408, "width": 768, "layers": 12, "heads": 12},
               ["bf16", "f32"], [[], ["--f32"]]),
}


def seconds(command, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(out.stdout.splitlines()[-1])["seconds_per_step"]


def compare(name, rounds, steps, threads, build):
    stage, numbers, types, peers = SHAPES[name]
    ours = [f"{build}/bench/training_bench", str(stage), f"steps={steps}", f"threads={threads}",
            *(f"{key}={value}" for key, value in numbers.items())]
    if stage == 2:
        ours.append(f"language={SMOLLM2}")
    peer = [sys.executable, str(ROOT / f"bench/stage{stage}_peer.py"), "--warmup", "1",
            "--steps", str(steps), "--threads", str(threads)]
    for key, value in numbers.items():
        peer += ["--" + key.replace("_", "-"), str(value)]
    commands = {f"blip2_{type}": [*ours, f"type={type}"] for type in types}
    commands |= {"eager_" + ("f32" if flags else "bf16"): peer + flags for flags in peers}
    best = {}
    for _ in range(rounds):
        for key, command in commands.items():
            best[key] = min(best.get(key, float("inf")), seconds(command, threads))
    ratios = {f"{theirs}/{mine}": best[theirs] / best[mine]
              for theirs in best for mine in best if theirs[0] == "e" and mine[0] == "b"}
    return {"shape": name, "seconds": best, "times_faster": ratios, "threads": threads}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", str(ROOT / "build")))
    args = parser.parse_args()
    for name in args.shapes:
        line = compare(name, args.rounds, args.steps, args.threads, args.build)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

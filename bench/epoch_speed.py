"""How much faster an epoch of stage 1 is with cached features than with encoding each time, as one JSON line.

At the paper's shape: a step of 16 pictures given ViT-g's features (257 x 1408), and the same with ViT-g/14 (39 blocks,
random weights) encoding the pictures in the step. Reading features from a cache is not in it: 12 MB a step.
    .venv/bin/python bench/epoch_speed.py [--rounds N] [--type bf16|f32]
"""

import argparse
import json
import os
import pathlib

import training_speed

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--type", default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", str(ROOT / "build")))
    args = parser.parse_args()
    stage, numbers, _, _ = training_speed.SHAPES["paper1"]
    command = [f"{args.build}/bench/training_bench", str(stage), "steps=2", f"threads={args.threads}",
               f"type={args.type}", *(f"{key}={value}" for key, value in numbers.items())]
    best = {}
    for _ in range(args.rounds):
        for name, blocks in (("cached", 0), ("encoding", 39)):
            took = training_speed.seconds([*command, f"vit_blocks={blocks}"], args.threads)
            best[name] = min(best.get(name, float("inf")), took)
    print(json.dumps({"seconds_per_step": best, "times_faster": best["encoding"] / best["cached"], "type": args.type}))


if __name__ == "__main__":
    main()

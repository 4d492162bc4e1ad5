"""The frozen language model here and in transformers, on one machine in one run.

Prints the figures of language_bench, transformers' (bf16; bf16 autocast for the
training pass, logits at the target positions only) and the ratios, as one JSON object.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "parity"))
from test_language import SMOLLM2, gguf_state  # noqa: E402


def best_of(times, work):
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def decode(model, tokens=32):
    ids = torch.ones(1, 8, dtype=torch.long)

    def generate(count):
        with torch.no_grad():
            model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False,
                           pad_token_id=2)

    generate(2)
    return (tokens - 1) / (best_of(3, lambda: generate(tokens)) - best_of(3, lambda: generate(1)))


def training(model, rows=40, length=24):
    embeds = torch.randn(rows, length, 576, requires_grad=True)
    targets = torch.full((rows * (length - 2 * length // 3),), 42)

    def step():
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(inputs_embeds=embeds).last_hidden_state[:, 2 * length // 3 :]
            logits = model.lm_head(hidden.reshape(-1, 576))
        torch.nn.functional.cross_entropy(logits.float(), targets).backward()

    return best_of(4, step)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--model", default=ROOT / ".cache/models/smollm2-135m-instruct.gguf")
    args = parser.parse_args()
    path = str(args.model)
    ours = json.loads(subprocess.run([f"{args.build}/bench/language_bench", path], check=True,
                                     capture_output=True).stdout)
    model = LlamaForCausalLM(LlamaConfig(**SMOLLM2)).eval().requires_grad_(False)
    model.load_state_dict(gguf_state(path), strict=False)
    theirs = {"training_seconds": training(model)}
    theirs["decode_tokens_per_second"] = decode(model.bfloat16())
    key = "decode_tokens_per_second"
    ratios = {
        "decode": ours[key] / theirs[key],
        "training": theirs["training_seconds"] / ours["training_seconds"],
    }
    print(json.dumps({"threads": torch.get_num_threads(), "blip2": ours, "transformers": theirs,
                      "times_faster": ratios}))


if __name__ == "__main__":
    main()

"""The frozen language model here, in transformers and in llama.cpp, on one machine in one run.

Prints the figures of language_bench, transformers' (bf16; bf16 autocast for the training pass,
logits at the target positions only), llama.cpp's on the same file if PyPI `xllamacpp` is there
(`--llama PYTHON`: an interpreter that has it), and the ratios, as one JSON object. The program
and llama.cpp are measured in turn, `--rounds` times; the best counts.
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


LLAMA = """
import json, os, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.n_gpu_layers = 1024, 1, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[2])
server = xllamacpp.Server(params)
best = {"decode_tokens_per_second": 0, "prefill_tokens_per_second": 0}
for i in range(4):
    prompt = f"{i} " + "one two three four five six seven eight " * 60
    done = server.handle_completions({"prompt": prompt, "n_predict": 64, "temperature": 0,
                                      "cache_prompt": False, "ignore_eos": True})
    timings = (done if isinstance(done, dict) else json.loads(done))["timings"]
    for ours, theirs in (("decode", "predicted"), ("prefill", "prompt")):
        key = f"{ours}_tokens_per_second"
        best[key] = max(best[key], timings[f"{theirs}_per_second"])
print("RESULT" + json.dumps(best), flush=True)
os._exit(0)
"""


def llama(python, path, threads):
    """llama.cpp's decode and prefill, or nothing if the interpreter does not have it."""
    done = subprocess.run([python, "-c", LLAMA, path, str(threads)], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines and "No module named" not in done.stderr:
        sys.exit(done.stderr[-2000:])
    return json.loads(lines[0][len("RESULT"):]) if lines else None


def better(one, other):
    """The best of two measurements: of seconds the least, of rates the largest."""
    if not one or not other:
        return one or other
    merged = dict(other)
    for key, value in one.items():
        if isinstance(value, dict):
            merged[key] = better(value, other.get(key))
        elif isinstance(value, (int, float)):
            best = min if key == "training_seconds" else max
            merged[key] = best(value, other[key])
    return merged


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--model", default=ROOT / ".cache/models/smollm2-135m-instruct.gguf")
    parser.add_argument("--llama", default=sys.executable, help="a Python that has xllamacpp")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    path = str(args.model)
    ours = peer = None
    for _ in range(args.rounds):
        run = subprocess.run([f"{args.build}/bench/language_bench", path], check=True, capture_output=True)
        ours = better(ours, json.loads(run.stdout))
        peer = better(peer, llama(args.llama, path, torch.get_num_threads()))
    model = LlamaForCausalLM(LlamaConfig(**SMOLLM2)).eval().requires_grad_(False)
    model.load_state_dict(gguf_state(path), strict=False)
    theirs = {"training_seconds": training(model)}
    theirs["decode_tokens_per_second"] = decode(model.bfloat16())
    key = "decode_tokens_per_second"
    ratios = {
        "decode": ours[key] / theirs[key],
        "training": theirs["training_seconds"] / ours["training_seconds"],
    }
    if "blocks" in ours:
        for name in ("decode", "decode_8_rows", "prefill", "prefill_512"):
            rate = f"{name}_tokens_per_second"
            ratios[f"blocks_{name}_over_widened"] = ours["blocks"][rate] / ours[rate]
    if peer:
        mine, rate = ours.get("blocks", ours), "prefill_tokens_per_second"
        ratios["decode_over_llama_cpp"] = mine[key] / peer[key]
        ratios["prefill_512_over_llama_cpp"] = mine["prefill_512_tokens_per_second"] / peer[rate]
    print(json.dumps({"threads": torch.get_num_threads(), "blip2": ours, "transformers": theirs, "llama_cpp": peer,
                      "times_faster": ratios}))


if __name__ == "__main__":
    main()

"""A step of writing by OPT-2.7B's shape, here with quantised weights and in transformers in bf16.

    .venv/bin/python bench/opt_speed.py DIR...      # e.g. of blip2-opt-2.7b, converted --weights q8_0 and q4_0

Needs 6 GB of memory beside the program's. `blip2 bench` and transformers (random weights of the same
shape, a prompt of 44 tokens as BLIP-2's) are measured in turn, `--rounds` times; the best counts.
Prints seconds a step of greedy and of beam search, and the ratios, as one JSON object.
"""

import argparse
import json
import os
import pathlib
import subprocess
import time

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMPT, TOKENS, BEAMS = 44, 16, 5
SHAPE = dict(vocab_size=50304, hidden_size=2560, word_embed_proj_dim=2560, ffn_dim=10240, num_hidden_layers=32,
             num_attention_heads=32, bos_token_id=2, eos_token_id=2, pad_token_id=1)


def make_peer():
    with torch.device("meta"):
        model = transformers.OPTForCausalLM(transformers.OPTConfig(**SHAPE))
    model = model.to(torch.bfloat16).to_empty(device="cpu").eval()
    model.tie_weights()
    with torch.no_grad():
        for value in model.parameters():
            value.uniform_(-0.02, 0.02)
    return model


def peer_step(model, beams):
    """Seconds of a token after the first."""
    ids = torch.full((1, PROMPT), 7)

    def generate(count):
        start = time.perf_counter()
        with torch.no_grad():
            model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
                           do_sample=False, num_beams=beams)
        return time.perf_counter() - start

    return (min(generate(TOKENS + 1) for _ in range(2)) - min(generate(1) for _ in range(2))) / TOKENS


def our_steps(build, folder):
    options = {"model": folder, "pictures": 1, "prompt-tokens": PROMPT, "new-tokens": TOKENS, "beams": BEAMS,
               "repeats": 2, "threads": torch.get_num_threads()}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    done = subprocess.run([f"{build}/blip2", "bench", *words, "--json"], check=True, capture_output=True)
    figures = json.loads(done.stdout)
    return {key: figures[key] for key in ("greedy_step_seconds", "beam_step_seconds", "load_seconds", "memory_bytes",
                                          "step_bytes", "memory_bytes_per_second")}


def best_of(one, other):
    best = {key: min(value, other.get(key, value)) for key, value in one.items()}
    for key in best.keys() & {"memory_bytes_per_second"}:
        best[key] = max(one[key], other.get(key, 0))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("models", nargs="+", help="model directories with OPT-2.7B's shape")
    args = parser.parse_args()
    peer, theirs, ours = make_peer(), {}, {folder: {} for folder in args.models}
    for _ in range(args.rounds):
        for folder in args.models:
            ours[folder] = best_of(our_steps(args.build, folder), ours[folder])
        theirs = best_of({"greedy_step_seconds": peer_step(peer, 1), "beam_step_seconds": peer_step(peer, BEAMS)},
                         theirs)
    ratios = {folder: {"greedy": theirs["greedy_step_seconds"] / own["greedy_step_seconds"],
                       "beams": theirs["beam_step_seconds"] / own["beam_step_seconds"],
                       "beams_over_greedy": own["beam_step_seconds"] / own["greedy_step_seconds"]}
              for folder, own in ours.items()}
    print(json.dumps({"threads": torch.get_num_threads(), "blip2": ours, "transformers": theirs,
                      "times_faster": ratios}))


if __name__ == "__main__":
    main()

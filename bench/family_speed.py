#!/usr/bin/env python3
"""Decoding and training passes of every decoder-only family at one shape, as shares of Llama's.

    .venv/bin/python bench/family_speed.py [--bench build/bench/language_bench] [--rounds 3]

The models are random, of SmolLM2-135M's width with fewer layers. Families take turns; the best of all rounds counts.
Windows are shorter than the texts, so that sliding layers read less than Llama's.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
import transformers

SHAPE = dict(vocab_size=8192, hidden_size=576, intermediate_size=1536, num_hidden_layers=12, num_attention_heads=9,
             num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=1,
             eos_token_id=2, pad_token_id=0)
FACTORS = dict(short_factor=[1.0] * 24, long_factor=[2.0] * 24)
FAMILIES = {
    "llama": ("LlamaConfig", dict(head_dim=64)),
    "llama 3.1": ("LlamaConfig", dict(head_dim=64, rope_parameters=dict(
        rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=1024))),
    "mistral": ("MistralConfig", dict(head_dim=64, sliding_window=256)),
    "ministral3": ("Ministral3Config", dict(head_dim=64)),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", dict(head_dim=64)),
    "smollm3": ("SmolLM3Config", {}),
    "gemma3": ("Gemma3TextConfig", dict(head_dim=64, query_pre_attn_scalar=64, sliding_window=256)),
    "phi3": ("Phi3Config", dict(original_max_position_embeddings=1024, rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75, **FACTORS))),
    "olmo2": ("Olmo2Config", {}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", default="build/bench/language_bench")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, changes) in FAMILIES.items():
            torch.manual_seed(1)
            config = getattr(transformers, kind)(**SHAPE, **changes)
            model = transformers.AutoModelForCausalLM.from_config(config).bfloat16()
            model.save_pretrained(pathlib.Path(folder) / name)
        for _ in range(args.rounds):
            for name in FAMILIES:
                found = json.loads(subprocess.run([args.bench, pathlib.Path(folder) / name, "bf16"], check=True,
                                                  capture_output=True, text=True).stdout)
                for key, value in found.items():
                    if not isinstance(value, (int, float)):
                        continue
                    pick = min if "seconds" in key else max
                    best.setdefault(name, {})
                    best[name][key] = pick(best[name].get(key, value), value)
    for name, found in best.items():
        shares = {key: round(value / best["llama"][key], 3) for key, value in found.items()
                  if "peak" not in key and "gflops" not in key}
        print(json.dumps({"family": name, "of_llama": shares}))


if __name__ == "__main__":
    main()

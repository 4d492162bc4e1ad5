"""Seconds of one stage-2 training step in eager PyTorch (bf16 autocast), as one JSON line.

The peer of the C++ stage-2 step: a Llama of SmolLM2-135M's shape from transformers, frozen, with
random weights in bf16; same batch, queries, tokens and answer length; AdamW step included.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "parity"))
import blip2_reference as reference  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=20, help="language-model tokens after the queries")
    parser.add_argument("--answer", type=int, default=3, help="of them, tokens at the end that count")
    parser.add_argument("--instruction", type=int, default=0, help="tokens of the question for the Q-Former")
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--positions", type=int, default=49)
    parser.add_argument("--features", type=int, default=1280)
    parser.add_argument("--cross-attention-frequency", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def smollm2_shape() -> transformers.LlamaForCausalLM:
    """SmolLM2-135M's shape; random weights cost the same time."""
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        rope_theta=100000.0,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16)


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = reference.BridgeConfig(
        hidden_size=args.width,
        num_hidden_layers=args.layers,
        intermediate_size=4 * args.width,
        num_attention_heads=args.heads,
        cross_attention_frequency=args.cross_attention_frequency,
        encoder_hidden_size=args.features,
        num_query_tokens=args.queries,
        dropout=args.dropout,
    )
    model = reference.Stage2(config, smollm2_shape())
    optimizer = torch.optim.AdamW(reference.parameter_groups(model, 0.05), lr=1e-4, betas=(0.9, 0.98))
    features = torch.randn(args.batch, args.positions, args.features)
    ids = torch.randint(0, 49152, (args.batch, args.tokens))
    labels = ids.clone()
    labels[:, : -args.answer] = reference.IGNORED
    instruction = {}
    if args.instruction > 0:
        words = torch.randint(1000, 30000, (args.batch, args.instruction))
        instruction = {"qformer_ids": words, "qformer_mask": torch.ones_like(words)}
    seconds = []
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(features, ids, torch.ones_like(ids), labels, **instruction)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    timed = sorted(seconds[args.warmup :])
    print(json.dumps({"seconds_per_step": timed[len(timed) // 2], "all": seconds, "torch": torch.__version__}))


if __name__ == "__main__":
    main()

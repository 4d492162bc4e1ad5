"""Seconds of one stage-1 training step in eager PyTorch (bf16 autocast), as one JSON line.

The peer of the C++ stage-1 step: same shapes, random numbers, AdamW step included.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "parity"))
import blip2_reference as reference  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--least-tokens", type=int, default=12)
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
    parser.add_argument("--f32", action="store_true", help="no autocast")
    return parser.parse_args()


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
    model = reference.Stage1(config).train()
    optimizer = torch.optim.AdamW(reference.parameter_groups(model, 0.05), lr=1e-4, betas=(0.9, 0.98))
    features = torch.randn(args.batch, args.positions, args.features)
    ids = torch.randint(1000, config.vocab_size - 1, (args.batch, args.tokens))
    lengths = torch.linspace(args.least_tokens, args.tokens, args.batch).long()
    mask = (torch.arange(args.tokens) < lengths[:, None]).long()
    rows = torch.arange(args.batch)
    seconds = []
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=not args.f32):
            losses = model(features, ids, mask, rows, rows, decoder_token=config.vocab_size - 1)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    timed = sorted(seconds[args.warmup :])
    print(json.dumps({"seconds_per_step": timed[len(timed) // 2], "all": seconds, "torch": torch.__version__}))


if __name__ == "__main__":
    main()

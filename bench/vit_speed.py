"""Pictures per second of a vision transformer of EVA ViT-g/14's shape with random weights: ours in bf16 and in Q8_0
beside the machine's bf16 products, and transformers in bf16. All in turn on the same weights and threads, a picture at
a time and, of transformers, in batches too; one JSON line with the best of each."""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[1]


def write_model(folder, layers):
    torch.manual_seed(0)
    model = transformers.Blip2VisionModel(transformers.Blip2VisionConfig(num_hidden_layers=layers))
    model.to(torch.bfloat16).save_pretrained(folder)
    return model.eval().bfloat16()


@torch.inference_mode()
def speed(model, batch, seconds):
    pixels = torch.rand(batch, 3, 224, 224, dtype=torch.bfloat16)
    model(pixels)
    best, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        model(pixels)
        best = max(best, batch / (time.perf_counter() - start))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--layers", type=int, default=39)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    program = pathlib.Path(args.build) / "bench" / "vit_bench"
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    best, ours = {}, None
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(folder, args.layers)
        for _ in range(args.rounds):
            line = json.loads(subprocess.check_output([program, folder, str(args.seconds / 3)], env=environment))
            if ours is None or line["bf16"]["share_of_gemm"] > ours["bf16"]["share_of_gemm"]:
                ours = line
            for name in ("bf16", "q8_0"):
                best[name] = max(best.get(name, 0), line[name]["pictures_per_second"])
            for batch in (1, 4):
                name = f"transformers, batch {batch}"
                best[name] = max(best.get(name, 0), speed(model, batch, args.seconds))
    peer = max(value for name, value in best.items() if name.startswith("transformers"))
    print(json.dumps({"layers": args.layers, "threads": args.threads, "kernels": ours["kernels"],
                      "pictures_per_second": {name: round(value, 3) for name, value in best.items()},
                      "gemm_gflops": round(ours["gemm_gflops"]),
                      "bf16_share_of_gemm": round(ours["bf16"]["share_of_gemm"], 3),
                      "q8_0_share_of_gemm": round(ours["q8_0"]["share_of_gemm"], 3),
                      "bf16_by_transformers": round(best["bf16"] / peer, 2),
                      "q8_0_by_transformers": round(best["q8_0"] / peer, 2)}))


if __name__ == "__main__":
    main()

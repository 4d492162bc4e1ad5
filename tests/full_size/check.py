"""Full-size models with random weights, written and run by transformers and run here.

    .venv/bin/python tests/full_size/check.py [--keep] [cut opt-2.7b flan-t5-xl ...]

Needs 20 GB of disk and about 18 GiB of memory, so it is no part of `make test`; run it by
`make full-size`. Prints one JSON line of figures a model and ends with exit 1 if one is out of its
limit: the first token's logits (bf16: cosine; a cut of few layers in f32: equal greedy tokens) and,
at full size, peak memory against the weights' size and loading (from the program's start until the
model is there) against reading the files from a warm cache. Weights are mapped, so that the first
pass touches them: the time to the first token is printed beside, but depends on what the processor
computes in it.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "parity"))
import numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image  # noqa: E402
from published_models import BlipImageProcessorPil, byte_level_tokenizer, t5_tokenizer  # noqa: E402

QUERIES, TOKENS = 32, 16
PROMPT = "Question: what is this? Short answer:"
LEAST_COSINE, MOST_MEMORY = 0.9995, 1.15
MOST_LOADING = (1.5, 1.5)  # times the seconds of reading the files, and seconds beside
OPT = dict(vocab_size=50304, hidden_size=2560, word_embed_proj_dim=2560, ffn_dim=10240, num_hidden_layers=32,
           num_attention_heads=32, bos_token_id=2, eos_token_id=5, pad_token_id=1)
T5 = dict(vocab_size=32128, d_model=2048, d_kv=64, d_ff=5120, num_layers=24, num_heads=32,
          feed_forward_proj="gated-gelu", dense_act_fn="gelu", tie_word_embeddings=False,
          decoder_start_token_id=0, pad_token_id=0, bos_token_id=1, eos_token_id=5)


def models():
    """Each model's text configuration, its tokenizer's maker, the image encoder's layers and the type."""
    opt, t5 = transformers.OPTConfig, transformers.T5Config
    return {
        "cut": (opt(**OPT | dict(num_hidden_layers=2)), byte_level_tokenizer, 2, torch.float32),
        "cut-t5": (t5(**T5 | dict(num_layers=2, num_decoder_layers=2)), t5_tokenizer, 2, torch.float32),
        "opt-2.7b": (opt(**OPT), byte_level_tokenizer, 39, torch.bfloat16),
        "flan-t5-xl": (t5(**T5), t5_tokenizer, 39, torch.bfloat16),
    }


def initialise(model):
    """Weights in proportion to their inputs, so that no layer fades and no logit dominates."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 1:
                norm = "norm" in name.lower() and name.endswith("weight")
                value.uniform_(0.8, 1.2) if norm else value.normal_(0, 0.02)
            elif any(part in name for part in ("embed", "shared", "relative", "query_tokens")):
                value.normal_(0, 0.3)
            else:
                scale = (value[0].numel()) ** -0.5
                # T5 does not divide by the root of d_kv: its queries do.
                value.normal_(0, scale * (0.125 if name.endswith("Attention.q.weight") else 1))


def write_model(folder, text, make_tokenizer, layers, dtype):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"<word{i}>" for i in range(text.vocab_size - len(tokenizer) - 4)])
    images = BlipImageProcessorPil(size={"height": 224, "width": 224})
    processor = transformers.Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)
    processor.save_pretrained(folder)
    config = transformers.Blip2Config(
        vision_config=transformers.Blip2VisionConfig(num_hidden_layers=layers),
        qformer_config=transformers.Blip2QFormerConfig(), text_config=text, num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"))
    with torch.device("meta"):
        model = transformers.Blip2ForConditionalGeneration(config)
    model = model.to(dtype).to_empty(device="cpu")
    model.tie_weights()
    initialise(model)
    model.save_pretrained(folder, max_shard_size="5GB")


def write_picture(path):
    low = numpy.random.default_rng(3).integers(0, 256, (5, 6, 3), dtype=numpy.uint8)
    Image.fromarray(low).resize((320, 240), Image.Resampling.BICUBIC).save(path)


def theirs(folder, picture, dtype):
    """(first logits, tokens) of transformers."""
    model = transformers.Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
    processor = transformers.Blip2Processor.from_pretrained(folder)
    inputs = processor(images=Image.open(picture).convert("RGB"), text=PROMPT, return_tensors="pt")
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    out = model.generate(**inputs, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False,
                         return_dict_in_generate=True, output_logits=True)
    start = 1 if model.config.text_config.model_type == "t5" else inputs["input_ids"].shape[1]
    return out.logits[0][0].float(), out.sequences[0, start:].tolist()


def ours(build, folder, picture, precision):
    """(first logits, tokens, seconds until the model is loaded, until a first token, peak bytes)."""
    model = {"model": str(folder), "precision": precision}
    start = time.perf_counter()
    process = subprocess.Popen([f"{build}/probe/published"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(job):
        process.stdin.write(json.dumps(model | job) + "\n")
        process.stdin.flush()
        return process.stdout.readline(), time.perf_counter() - start

    def answer(tokens):
        return ask({"images": [str(picture)], "prompts": [PROMPT],
                    "options": {"max_new_tokens": tokens, "min_new_tokens": tokens}})

    _, loaded = ask({})
    _, first = answer(1)
    line, _ = answer(TOKENS)
    peak = peak_bytes(process.pid)
    process.stdin.close()
    if process.wait():
        sys.exit(f"the program ended with {process.returncode}")
    [row] = json.loads(line)
    return torch.tensor(row["logits"]), row["answers"][0]["tokens"], loaded, first, peak


def peak_bytes(pid):
    """Of a running program. What wait4 says of one that has ended counts its parent before exec too."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def reading_seconds(files):
    """Seconds of reading the files from a warm cache."""
    start = time.perf_counter()
    buffer = bytearray(1 << 24)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def check(name, build, root, keep):
    text, make_tokenizer, layers, dtype = models()[name]
    folder, picture = root / name, root / "picture.png"
    if not (folder / "config.json").exists():
        write_model(folder, text, make_tokenizer, layers, dtype)
    write_picture(picture)
    files = sorted(folder.glob("*.safetensors"))
    size, half = sum(f.stat().st_size for f in files), dtype == torch.bfloat16
    reading_seconds(files)
    reading = reading_seconds(files)
    logits, tokens, loading, first, peak = ours(build, folder, picture, "auto")
    expected, words = theirs(folder, picture, dtype)
    cosine = torch.cosine_similarity(logits.double(), expected.double(), dim=0).item()
    print(json.dumps({"model": name, "weights_bytes": size, "cosine": cosine, "tokens_equal": tokens == words,
                      "peak_over_weights": peak / size, "seconds_loading": loading,
                      "seconds_to_first_token": first, "seconds_reading_files": reading}), flush=True)
    if not keep:
        shutil.rmtree(folder)
    if not half:
        return tokens == words  # what a small cut needs beside its weights is no measure
    factor, more = MOST_LOADING
    return cosine >= LEAST_COSINE and peak <= MOST_MEMORY * size and loading <= factor * reading + more


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(models()) + " (default: all)")
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", str(ROOT / "build")))
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build" / "full_size")
    parser.add_argument("--keep", action="store_true", help="leave the models for another run")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    failed = [name for name in args.models or models() if not check(name, args.build, args.folder, args.keep)]
    if failed:
        sys.exit("out of the limits: " + ", ".join(failed))


if __name__ == "__main__":
    main()

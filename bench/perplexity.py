"""Perplexity of a GGUF language model here and in llama.cpp, over the same tokens of the same text.

The text is the Python language reference as the standard library carries it (pydoc_data.topics, topics in the order of
their names), its first `--tokens` tokens. Both cut it into windows of 512 tokens that know nothing of each other, and
predict each token of a window but the first; llama.cpp keeps its keys and values in f16, as it does by itself. Prints
one JSON object. `--llama`: the libraries of llama.cpp, see llama_cpp.py; once for each level of `--levels`.
"""

import argparse
import json
import os
import pathlib
import pydoc_data.topics
import subprocess
import sys
import tempfile

from llama_cpp import Llama

ROOT = pathlib.Path(__file__).resolve().parent.parent
WINDOW = 512


def reference_text():
    topics = pydoc_data.topics.topics
    return "\n\n".join(topics[name].strip() for name in sorted(topics))


def first_tokens(llama, text, count):
    """The beginning of a text that is just `count` tokens long, or a few less."""
    low, high = 0, min(len(text), 8 * count)
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(llama.tokenize(text[:middle])) <= count
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low]


def theirs(args):
    """What llama.cpp makes of the file of `--text`; in a process of its own, as a level stays for a process's life."""
    llama = Llama(args.llama, args.model, args.threads, args.level)
    ids = llama.tokenize(pathlib.Path(args.text).read_text())
    nats = predicted = 0
    for begin in range(0, len(ids) - 1, WINDOW):
        losses = llama.losses(ids[begin : begin + WINDOW])
        nats, predicted = nats + float(losses.sum()), predicted + len(losses)
    print("RESULT" + json.dumps({"text_tokens": len(ids), "predicted_tokens": predicted, "nats": nats}), flush=True)
    os._exit(0)


def run_theirs(args, text, level):
    command = [sys.executable, __file__, "--llama", args.llama, "--model", args.model, "--text", text,
               "--threads", args.threads, "--level", level]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        sys.exit(done.stderr[-2000:])
    return json.loads(lines[0][len("RESULT"):])


def ours(args, folder, text, kernels):
    program = pathlib.Path(args.build) / "blip2"
    model = folder / "model"
    if not model.exists():
        assembly = (ROOT / "recipes" / "tiny_model.toml").read_text()
        lines = [line for line in assembly.splitlines() if not line.startswith("language_model")]
        paths = [line.replace('"../', f'"{ROOT}/') for line in lines] + [f'language_model = "{args.model}"']
        (folder / "parts.toml").write_text("\n".join(paths) + "\n")
        subprocess.run([program, "convert", folder / "parts.toml", model, "--weights", "stored"], check=True)
    done = subprocess.run(
        [program, "bench", "--model", model, "--text", text, "--window", str(WINDOW), "--batch-size", "8", "--json",
         "--threads", str(args.threads), "--precision", args.precision],
        check=True, capture_output=True, text=True, env={**os.environ, "BLIP2_KERNELS": kernels})
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--model", default=ROOT / ".cache/models/smollm2-135m-instruct.gguf")
    parser.add_argument("--llama", required=True, help="libraries of llama.cpp, see llama_cpp.py")
    parser.add_argument("--tokens", type=int, default=20000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--levels", nargs="+", default=["avx512-bf16", "avx2"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--text", help=argparse.SUPPRESS)
    parser.add_argument("--level", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.text:
        theirs(args)
    args.model = pathlib.Path(args.model).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        text = folder / "text.txt"
        llama = Llama(args.llama, args.model, args.threads, args.levels[0])
        text.write_text(first_tokens(llama, reference_text(), args.tokens))
        result = {"python": sys.version.split()[0], "window": WINDOW}
        for level in args.levels:
            mine, peer = ours(args, folder, text, level.replace("-vnni", "")), run_theirs(args, text, level)
            for key in ("text_tokens", "predicted_tokens"):
                assert mine[key] == peer[key], f"{key}: {mine[key]} here, {peer[key]} in llama.cpp"
            theirs_is = 2.718281828459045 ** (peer["nats"] / peer["predicted_tokens"])
            result["text_tokens"] = mine["text_tokens"]
            result[level] = {"blip2": mine["perplexity"], "llama_cpp": theirs_is,
                             "ratio": mine["perplexity"] / theirs_is, "kernels": mine["kernels"]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

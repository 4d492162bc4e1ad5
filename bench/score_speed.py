"""`blip2 score` beside pycocoevalcap (tokens, BLEU, ROUGE-L, CIDEr) on the same captions, as one JSON line.

Each program reads the same two files in a process of
its own. Memory is the largest resident set of the process (pycocoevalcap's without its Java tokenizer).
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]

PEER = """
import json, resource, sys, time
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
gts, res = {}, {}
for row in json.load(open(sys.argv[2]))["annotations"]:
    gts.setdefault(row["image_id"], []).append(row)
for row in json.load(open(sys.argv[1])):
    res[row["image_id"]] = [row]
start = time.perf_counter()
gts, res = PTBTokenizer().tokenize(gts), PTBTokenizer().tokenize(res)
tokens = time.perf_counter() - start
scores = {}
for name, scorer in (("bleu", Bleu(4)), ("rouge_l", Rouge()), ("cider", Cider())):
    scores[name] = scorer.compute_score(gts, res, **({"verbose": 0} if name == "bleu" else {}))[0]
print(json.dumps({"tokens": tokens, "scores": time.perf_counter() - start - tokens, "values": scores}))
"""


def write_captions(folder, count, references, seed=1):
    """Captions as a chain of words with few followers each: n-grams come again as in real captions."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(2, 9))) for _ in range(9000)]
    words[:6] = ["a", "on", "of", "the", "in", "with"]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    falling = [1 / (rank + 1) for rank in range(30)]
    followers = {word: rng.choices(words, weights, k=30) for word in words}

    def caption():
        some = ["a"]
        for _ in range(rng.randint(7, 13)):
            some.append(rng.choices(followers[some[-1]], falling)[0])
        return " ".join(some).capitalize() + rng.choice((".", ".", ""))

    rows = [{"image_id": i, "caption": caption()} for i in range(count) for _ in range(references)]
    results = [{"image_id": i, "caption": caption()} for i in range(count)]
    (folder / "references.json").write_text(json.dumps({"annotations": rows}))
    (folder / "results.json").write_text(json.dumps(results))


def run(command):
    """(seconds, peak MiB, standard output) of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.perf_counter() - start, usage.ru_maxrss / 1024, output


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", ROOT / "build"))
    parser.add_argument("--captions", type=int, default=25_000)
    parser.add_argument("--references", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_captions(folder, args.captions, args.references)
        files = [str(folder / "results.json"), str(folder / "references.json")]
        score = [str(pathlib.Path(args.build) / "blip2"), "score", "--json", "--task", "caption",
                 "--results", files[0], "--references", files[1]]
        ours, our_memory, output = min(run([*score, "--samples", "0"]) for _ in range(3))
        with_intervals, _, _ = run(score)
        theirs, their_memory, peer = run([sys.executable, "-c", PEER, *files])
        write_captions(folder, 100, args.references)
        start = min(run(score)[0] for _ in range(5))
    values, peer = json.loads(output), json.loads(peer)
    assert abs(values["cider"] - peer["values"]["cider"]) < 1e-9
    assert abs(values["rouge_l"] - peer["values"]["rouge_l"]) < 1e-9
    assert all(abs(values[f"bleu_{i + 1}"] - b) < 1e-9 for i, b in enumerate(peer["values"]["bleu"]))
    print(json.dumps({
        "captions": args.captions, "references": args.references, "seconds": round(ours, 3),
        "with_intervals": round(with_intervals, 3), "on_100_captions": round(start, 3),
        "pycocoevalcap": round(theirs, 1), "of_that_tokens": round(peer["tokens"], 1),
        "of_that_scores": round(peer["scores"], 1), "ratio": round(theirs / ours, 1),
        "mib": round(our_memory), "pycocoevalcap_mib": round(their_memory)}))


if __name__ == "__main__":
    main()

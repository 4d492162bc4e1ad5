"""The demo after set-up and build: data, training, evaluation, a dozen answers, a report.

Everything lies under build/demo (another folder with --output): data/, init/ (the frozen parts
assembled), stage1/ and stage2/ (the training runs), model/ (the result), metrics.json, report.html.
Frozen features are kept in .cache/features.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import demo_emoji
import demo_report
import thumbnail

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHOWN = 24  # pictures in each gallery of the report; the terminal shows the first half dozen
INTERRUPTED = 130  # the program's exit code after Ctrl-C
QUERIES = 6  # retrieval examples in each direction


class Demo:
    """Runs the steps, timing each; `seconds` maps a step's name to its duration."""

    def __init__(self, program, output):
        self.program, self.output, self.data = program, output, output / "data"
        self.model, self.seconds = output / "model", {}
        output.mkdir(parents=True, exist_ok=True)

    def step(self, name, work):
        print(f"demo: {name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - start
        return result

    def blip2(self, *arguments):
        """Runs one verb; its progress shows on the terminal. Returns its JSON lines."""
        command = [str(self.program), *map(str, arguments)]
        # Ctrl-C reaches the program too, which is given the time to save what it has.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        finally:
            signal.signal(signal.SIGINT, before)
        if done.returncode == INTERRUPTED:
            raise KeyboardInterrupt
        if done.returncode != 0:
            sys.exit(f"demo: exit {done.returncode} from: {' '.join(command[:12])}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def fresh(self, name):
        """A path under the output for one run; what an earlier demo left there is removed."""
        shutil.rmtree(self.output / name, ignore_errors=True)
        return self.output / name

    def prepare(self):
        subprocess.run([sys.executable, ROOT / "tools" / "prepare_demo_data.py", "--output",
                        self.data], check=True, stdout=sys.stderr)

    def assemble(self):
        self.blip2("convert", ROOT / "recipes" / "demo_model.toml", self.fresh("init"))

    def key(self):
        """Of all that decides what training gives; a run goes on only where it is the same."""
        programs = [self.program, self.program.with_name("blip2-torch")]
        files = [*programs, *sorted((ROOT / "recipes").glob("demo_*.toml")),
                 *sorted(self.data.glob("*.jsonl"))]
        return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()

    def interrupted(self, stage):
        """Whether the stage was interrupted and can go on."""
        note = self.output / f"stage{stage}" / "interrupted"
        return note.exists() and note.read_text() == self.key()

    def train(self, stage, init):
        run, flags = self.output / f"stage{stage}", ["--resume"]
        if not self.interrupted(stage):
            self.fresh(run.name)
            flags = []
        try:
            self.blip2("train", ROOT / "recipes" / f"demo_stage{stage}.toml",
                       "--set", f"init={self.output / init}", "--output", run, *flags)
        except KeyboardInterrupt:
            if run.exists():
                (run / "interrupted").write_text(self.key())
            raise
        (run / "interrupted").unlink(missing_ok=True)

    def keep_model(self):
        """The trained run's directory without its checkpoints is the model directory."""
        model = self.fresh("model")
        shutil.copytree(self.output / "stage2", model, copy_function=os.link,
                        ignore=shutil.ignore_patterns("checkpoints", "log.jsonl", "*lock"))

    def evaluate(self, task, data, *options, results=None):
        """The metrics of one split; `results`: what names the file of its records' results."""
        kept = ["--results", self.output / f"{results}.jsonl"] if results else []
        lines = self.blip2("eval", "--model", self.model, "--task", task,
                           "--data", self.data / f"{data}.jsonl", "--json", *options, *kept)
        if not lines:
            sys.exit(f"demo: eval --task {task} printed no JSON")
        return lines[-1]

    def retrieve(self, data):
        return self.evaluate("retrieval", data, "--rerank", 32, "--matching-weight", 0.5)

    def caption(self, data, *options, results=None):
        return self.evaluate("caption", data, "--generic-words", ",".join(sorted(demo_emoji.GENERIC)),
                             *options, results=results or data)

    def shown(self, results, count=SHOWN):
        """Some records' results, chosen by a hash of what was asked, never by the answer."""
        asked = ("image", "question", "references")
        return spread(read_lines(self.output / f"{results}.jsonl"), count,
                      lambda line: [line.get(key) for key in asked])

    def show_retrieval(self):
        """Best held-out pictures of some names, best held-out names of some pictures."""
        records = read_lines(self.data / "emoji_test.jsonl")
        chosen = spread(records, QUERIES, lambda record: record)
        images = [str(self.data / r["image"]) for r in records]
        texts = [word for r in chosen for word in ("--text", title(r))]
        by_text = self.blip2("match", "--model", self.model, "--json", *texts, *images)
        names = [word for r in records for word in ("--text", title(r))]
        by_image = self.blip2("match", "--model", self.model, "--json", *names,
                              *[str(self.data / r["image"]) for r in chosen])
        record_of = dict(zip(images, records))
        return ([(r, [record_of[hit["image"]] for hit in best(by_text, "text", title(r))])
                 for r in chosen],
                [(r, [hit["text"] for hit in best(by_image, "image",
                                                  str(self.data / r["image"]))])
                 for r in chosen])


def best(lines, key, value, count=5):
    """The `count` lines of one query that match best, by contrast and matching together."""
    mine = [line for line in lines if line[key] == value]
    return sorted(mine, key=lambda line: -(line["itc"] + line["itm"]))[:count]


def read_lines(path):
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def title(record):
    return record["captions"][0]


def spread(records, count, asked):
    """`count` records by a hash of `asked` of each, before anything is known of the answers."""
    return sorted(records, key=lambda r: digest(asked(r)))[:count]


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).digest()


def recalls(result):
    """The recalls, and under "itc_only" those of contrast alone."""
    kept = {way: {k: result[way][k] for k in ("r1", "r5", "r10")}
            for way in ("image_to_text", "text_to_image")}
    if "itc_only" in result:
        kept["itc_only"] = recalls(result["itc_only"])
    return kept


def verdict(line):
    """What is said of a result beside the answer: nothing where it is right."""
    if line.get("accuracy") or line.get("hit") or line.get("exact"):
        return "ok"
    return f"it is: {line['references'][0]}"


def print_examples(heading, lines):
    print(f"\n{heading}")
    for line in lines[:6]:
        asked = f"{line['question']}  " if "question" in line else ""
        chance = f", probability {line['probability']:.2f}" if "probability" in line else ""
        if thumbnail.wanted(sys.stdout) and line["image"].endswith(".png"):
            print("\n" + thumbnail.half_blocks(pathlib.Path(line["image"]), 16))
        print(f"  {pathlib.Path(line['image']).name}  {asked}\"{line['text'].strip()}\"  "
              f"({verdict(line)}{chance})")


def print_metrics(metrics):
    def hits(name):
        part = metrics["captions"][name]
        low, high = part["hits_interval"]
        return f"{part['hits']:7.1%}   ({low:.1%} to {high:.1%} in 95 of 100 draws)"

    print(f"\n  easy-VQA, official test split            {metrics['easy_vqa_accuracy']:7.1%}")
    print(f"  shapes captioned exactly                 {metrics['shapes_exact']:7.1%}")
    print(f"  emoji captioned: a hit                   {hits('emoji')}")
    print(f"  emoji named out of all names: a hit      {hits('emoji_names')}")
    print(f"  clip art captioned: a hit                {hits('clip_art')}")
    for name, key in (("emoji", "retrieval"), ("clip art", "retrieval_clip_art")):
        for way, of in (("image_to_text", "picture to title"), ("text_to_image", "title to picture")):
            r = metrics[key][way]
            print(f"  {name}, {of:16}  R@1 {r['r1']:.1%}  R@5 {r['r5']:.1%}  R@10 {r['r10']:.1%}")
    print("  seconds: " + ", ".join(f"{k} {v:.0f}" for k, v in metrics["seconds"].items()))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--setup-seconds", type=float, default=0)
    parser.add_argument("--build-seconds", type=float, default=0)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build" / "blip2")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "demo")
    parser.add_argument("--no-training", action="store_true",
                        help="evaluate and report on the runs that are there")
    return parser.parse_args()


def run_training(demo):
    demo.step("preparing pictures and questions", demo.prepare)
    if not demo.interrupted(2):
        demo.fresh("stage2")  # what an earlier stage 1 led to
        demo.step("assembling the frozen parts", demo.assemble)
        demo.step("stage 1", lambda: demo.train(1, "init"))
    demo.step("stage 2", lambda: demo.train(2, "stage1"))
    demo.step("keeping the model", demo.keep_model)


def evaluate(demo):
    vqa = demo.step("answers", lambda: demo.evaluate("vqa", "vqa_test", results="vqa_test"))
    print_examples("Pictures of the test split, questions and answers:", demo.shown("vqa_test"))
    names = ("--choose", "match", "--names", demo.data / "emoji_names.txt", "--rerank", 32)
    named = demo.step("names", lambda: demo.caption("emoji_test", *names, results="emoji_names"))
    print_examples("Held-out drawings and their names, out of all:", demo.shown("emoji_names"))
    emoji = demo.step("captions", lambda: demo.caption("emoji_test"))
    clip_art = demo.step("captions of clip art", lambda: demo.caption("clip_art_test"))
    shapes = demo.step("captions of shapes", lambda: demo.caption("shapes_test"))
    print_examples("Held-out drawings and the captions written:", demo.shown("emoji_test"))
    print("\n  " + demo_report.WHAT_IT_CAN)
    retrieval = demo.step("retrieval", lambda: demo.retrieve("emoji_test"))
    others = demo.step("retrieval of clip art", lambda: demo.retrieve("clip_art_test"))
    return {"easy_vqa_accuracy": vqa["accuracy"], "easy_vqa_questions": vqa["questions"],
            "caption_exact": emoji["exact"], "shapes_exact": shapes["exact"],
            "captions": {"emoji": emoji, "emoji_names": named, "clip_art": clip_art},
            "retrieval": recalls(retrieval), "retrieval_clip_art": recalls(others)}


def main():
    arguments = parse_arguments()
    start = time.monotonic()
    demo = Demo(arguments.program.resolve(), arguments.output.resolve())
    if not arguments.no_training:
        run_training(demo)
    metrics = evaluate(demo)
    shown = {name: demo.shown(name)
             for name in ("vqa_test", "emoji_names", "emoji_test", "clip_art_test")}
    shown["retrieval"] = demo.step("showing retrieval", demo.show_retrieval)
    metrics["seconds"] = {
        "setup": arguments.setup_seconds, "build": arguments.build_seconds,
        "train": sum(demo.seconds.get(f"stage {n}", 0) for n in (1, 2)),
        "total": arguments.setup_seconds + arguments.build_seconds + time.monotonic() - start}
    (demo.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    report = demo.output / "report.html"
    report.write_text(demo_report.page(ROOT, demo, metrics, shown), encoding="utf-8")
    print_metrics(metrics)
    print(f"\n  {report.relative_to(ROOT) if report.is_relative_to(ROOT) else report}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("demo: interrupted; the same command goes on with the training", file=sys.stderr)
        sys.exit(INTERRUPTED)

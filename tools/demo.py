"""The demo after set-up and build: data, training, evaluation, a dozen answers, a report.

Everything lies under build/demo (another folder with --output): data/, init/ (the frozen parts
assembled), stage1/ and stage2/ (the training runs), model/ (the result), metrics.json, report.html.
Frozen features are kept in .cache/features. Python standard library only.
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
        files = [self.program, *sorted((ROOT / "recipes").glob("demo_*.toml")),
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

    def evaluate(self, task, data):
        lines = self.blip2("eval", "--model", self.model, "--task", task, "--rerank", 32,
                           "--matching-weight", 0.5, "--data",
                           self.data / data, "--json")
        if not lines:
            sys.exit(f"demo: eval --task {task} printed no JSON")
        return lines[-1]

    def show_captions(self):
        """Captions of some held-out pictures: (record, generated line) pairs."""
        records = spread(read_lines(self.data / "emoji_test.jsonl"), SHOWN)
        listed = self.output / "show_images.txt"
        listed.write_text("".join(f"{self.data / r['image']}\n" for r in records))
        return list(zip(records, self.blip2("caption", "--model", self.model, "--json",
                                            "--images-from", listed)))

    def show_answers(self):
        """Answers about some pictures of the official test split, as (record, line) pairs."""
        records = spread(read_lines(self.data / "vqa_test.jsonl"), SHOWN)
        listed = self.data / "show_questions.jsonl"
        listed.write_text("".join(json.dumps(r) + "\n" for r in records))
        return list(zip(records, self.blip2("vqa", "--model", self.model, "--json",
                                            "--questions-from", listed)))

    def show_retrieval(self):
        """Best held-out pictures of some names, best held-out names of some pictures."""
        records = read_lines(self.data / "emoji_test.jsonl")
        chosen = spread(records, QUERIES)
        images = [str(self.data / r["image"]) for r in records]
        texts = [word for r in chosen for word in ("--text", r["caption"])]
        by_text = self.blip2("match", "--model", self.model, "--json", *texts, *images)
        names = [word for r in records for word in ("--text", r["caption"])]
        by_image = self.blip2("match", "--model", self.model, "--json", *names,
                              *[str(self.data / r["image"]) for r in chosen])
        record_of = dict(zip(images, records))
        return ([(r, [record_of[hit["image"]] for hit in best(by_text, "text", r["caption"])])
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


def spread(records, count):
    """`count` records chosen by a hash, before anything is known of the answers."""
    return sorted(records, key=digest)[:count]


def digest(record):
    return hashlib.sha256(json.dumps(record).encode()).digest()


def recalls(result):
    return {way: {k: result[way][k] for k in ("r1", "r5", "r10")}
            for way in ("image_to_text", "text_to_image")}


def print_examples(data, title, examples):
    print(f"\n{title}")
    for record, line in examples[:6]:
        text = line.get("answer", line.get("text", "")).strip()
        wanted = record.get("answer", record.get("caption"))
        asked = f"{record['question']}  " if "question" in record else ""
        mark = "ok" if same(text, wanted) else f"it is: {wanted}"
        if thumbnail.wanted(sys.stdout):
            print("\n" + thumbnail.half_blocks(data / record["image"], 16))
        print(f"  {record['image']}  {asked}\"{text}\"  ({mark})")


def same(text, wanted):
    return " ".join(text.lower().split()) == " ".join(wanted.lower().split())


def print_metrics(metrics):
    both = [metrics["retrieval"][way] for way in ("image_to_text", "text_to_image")]
    print(f"\n  easy-VQA, official test split   {metrics['easy_vqa_accuracy']:7.1%}")
    print(f"  caption is the exact name       {metrics['caption_exact']:7.1%}")
    for way, r in zip(("picture to name", "name to picture"), both):
        print(f"  {way}  R@1 {r['r1']:.1%}  R@5 {r['r5']:.1%}  R@10 {r['r10']:.1%}")
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
    retrieval = demo.step("retrieval", lambda: demo.evaluate("retrieval", "emoji_test.jsonl"))
    caption = demo.step("captions", lambda: demo.evaluate("caption", "emoji_test.jsonl"))
    vqa = demo.step("answers", lambda: demo.evaluate("vqa", "vqa_test.jsonl"))
    metrics = {"easy_vqa_accuracy": vqa["accuracy"], "easy_vqa_questions": vqa["questions"],
               "caption_exact": caption["exact"], "retrieval": recalls(retrieval)}
    if "itc_only" in retrieval:
        metrics["retrieval"]["itc_only"] = recalls(retrieval["itc_only"])
    return metrics


def main():
    arguments = parse_arguments()
    start = time.monotonic()
    demo = Demo(arguments.program.resolve(), arguments.output.resolve())
    if not arguments.no_training:
        run_training(demo)
    metrics = evaluate(demo)
    shown = {"captions": demo.step("showing captions", demo.show_captions),
             "answers": demo.step("showing answers", demo.show_answers),
             "retrieval": demo.step("showing retrieval", demo.show_retrieval)}
    metrics["seconds"] = {
        "setup": arguments.setup_seconds, "build": arguments.build_seconds,
        "train": sum(demo.seconds.get(f"stage {n}", 0) for n in (1, 2)),
        "total": arguments.setup_seconds + arguments.build_seconds + time.monotonic() - start}
    (demo.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    report = demo.output / "report.html"
    report.write_text(demo_report.page(ROOT, demo, metrics, shown), encoding="utf-8")
    print_examples(demo.data, "Held-out pictures and the generated captions:", shown["captions"])
    print_examples(demo.data, "Pictures of the test split, questions and answers:",
                   shown["answers"])
    print_metrics(metrics)
    print(f"\n  {report.relative_to(ROOT) if report.is_relative_to(ROOT) else report}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("demo: interrupted; the same command goes on with the training", file=sys.stderr)
        sys.exit(INTERRUPTED)

"""Runs lmms-eval, a public evaluation harness, over a running `blip2 serve` on twenty local questions.

    build/blip2 serve --model build/demo/model --api-key KEY &
    .venv/bin/python bench/serve_lmms_eval.py --url http://127.0.0.1:8000 --key KEY --model build/demo/model

The harness asks through its own OpenAI-compatible client, many questions at once. Its answers must be those
of `blip2 vqa` for the same pictures, byte for byte; exit 1 otherwise. The first run makes a virtual
environment of 0.6 GB in build/lmms-eval, which takes torch and transformers from .venv.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
HARNESS = ["lmms-eval==0.7.3"]  # without what it depends on: most of that is for other models and tasks
NEEDED = ["accelerate==1.15.0", "datasets==5.2.0", "evaluate==0.4.6", "jsonlines", "loguru", "numexpr", "openai==3.57.0",
          "pandas", "psutil", "python-dotenv", "pytablewriter", "pytz", "sacrebleu", "scipy", "tenacity"]
COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (30, 160, 60), "black": (0, 0, 0), "yellow": (240, 210, 30)}
SHAPES = ("circle", "square", "triangle", "rectangle")
TASK = """task: local_questions
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {parquet}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function questions.doc_to_visual
doc_to_text: !function questions.doc_to_text
doc_to_target: answer
process_results: !function questions.process_results
generation_kwargs: {{max_new_tokens: {tokens}, temperature: 0}}
metric_list:
  - {{metric: accuracy, aggregation: mean, higher_is_better: true}}
"""
FUNCTIONS = """def doc_to_visual(doc):
    return [doc["image"].convert("RGB")]


def doc_to_text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]


def process_results(doc, results):
    return {"accuracy": float(results[0].strip() == doc["answer"])}
"""


def make_environment(folder):
    """The harness's own Python, which finds torch and transformers in .venv."""
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        peers = next((ROOT / ".venv").glob("lib/python3*/site-packages"))
        next(folder.glob("lib/python3*/site-packages")).joinpath("peers.pth").write_text(f"{peers}\n")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        subprocess.run([*pip, "--no-deps", *HARNESS, "accelerate==1.15.0"], check=True)
        subprocess.run([*pip, *(name for name in NEEDED if not name.startswith("accelerate"))], check=True)
        stamp.touch()
    return python


def draw(folder):
    """Twenty pictures with a question each: [{image, question, answer}]."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for index, (colour, shape) in enumerate((colour, shape) for colour in COLOURS for shape in SHAPES):
        image = Image.new("RGB", (64, 64), "white")
        pen, (x, y) = ImageDraw.Draw(image), (6 + index % 5 * 3, 8 + index % 4 * 4)
        points = {"square": [(x, y), (x + 36, y), (x + 36, y + 36), (x, y + 36)], "triangle": [(x, y + 36), (x + 36, y + 36), (x + 18, y)],
                  "rectangle": [(x, y), (x + 40, y), (x + 40, y + 20), (x, y + 20)]}
        if shape == "circle":
            pen.ellipse((x, y, x + 36, y + 36), fill=COLOURS[colour])
        else:
            pen.polygon(points[shape], fill=COLOURS[colour])
        path = folder / f"{colour}_{shape}.png"
        image.save(path)
        question, answer = ("what color is the shape?", colour) if index % 2 else ("what shape is in the image?", shape)
        records.append({"image": str(path), "question": question, "answer": answer})
    return records


def write_task(folder, records, tokens, python):
    """The task in the harness's form: a parquet file with the pictures, a YAML file, its functions."""
    (folder / "records.json").write_text(json.dumps(records))
    make = ("import datasets, json, sys; folder = sys.argv[1]; records = json.load(open(folder + '/records.json')); "
            "set_ = datasets.Dataset.from_list(records).cast_column('image', datasets.Image()); "
            "set_.to_parquet(folder + '/questions.parquet')")
    subprocess.run([python, "-c", make, folder], check=True, stdout=subprocess.DEVNULL)
    task = folder / "tasks"
    task.mkdir(exist_ok=True)
    (task / "local_questions.yaml").write_text(TASK.format(parquet=folder / "questions.parquet", tokens=tokens))
    (task / "questions.py").write_text(FUNCTIONS)
    return task


def text_of(answers):
    """The harness logs an only answer as it is, several as a list."""
    return answers if isinstance(answers, str) else answers[0]


def run_harness(args, python, folder, task):
    """What the harness got: {picture's place among the records: answer}, and its accuracy."""
    model = args.model_name or pathlib.Path(args.model).name
    out = folder / "results"
    arguments = f"model={model},base_url={args.url}/v1,api_key={args.key},num_concurrent=8,max_retries=1,timeout=300"
    subprocess.run([python, "-m", "lmms_eval", "eval", "--model", "openai", "--model_args", arguments, "--tasks", "local_questions",
                    "--include_path", task, "--batch_size", "1", "--log_samples", "--output_path", out],
                   check=True, env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache"), "CUDA_VISIBLE_DEVICES": ""})
    samples = max(out.rglob("*samples_local_questions.jsonl"), key=lambda path: path.stat().st_mtime)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return {line["doc_id"]: text_of(line["filtered_resps"]) for line in lines}, sum(line["accuracy"] for line in lines) / len(lines)


def ask_program(args, records, folder, tokens):
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = subprocess.run([args.program, "vqa", "--model", args.model, "--questions-from", data, "--beams", "1",
                           "--max-new-tokens", str(tokens), "--json"],
                          check=True, capture_output=True, text=True)
    return [json.loads(line)["answer"] for line in done.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", default="none")
    parser.add_argument("--model", default="build/demo/model", help="the served model's directory")
    parser.add_argument("--model-name", help="its name for clients; default: the directory's name")
    parser.add_argument("--program", default=ROOT / "build" / "blip2")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build" / "lmms-eval")
    args = parser.parse_args()
    tokens, folder = 16, args.folder.resolve()
    python = make_environment(folder / "venv")
    records = draw(folder / "pictures")
    answers, accuracy = run_harness(args, python, folder, write_task(folder, records, tokens, python))
    expected = ask_program(args, records, folder, tokens)
    differing = [(index, text, answers.get(index)) for index, text in enumerate(expected) if answers.get(index) != text]
    print(f"{len(answers)} answers, accuracy {accuracy:.2f}, {len(differing)} differ from blip2 vqa")
    for index, ours, theirs in differing:
        print(f"{records[index]['image']}: vqa {ours!r}, harness {theirs!r}")
    return bool(differing or len(answers) != len(records))


if __name__ == "__main__":
    sys.exit(main())

"""What the program loses beside other work, as one JSON line a task.

Each task is a whole command of the program, run alone, beside one busy process of one thread, and twice at the same
time; `alone_share` is the rate beside the busy process as a share of that alone, `together` how much faster two
commands at the same time are than one after the other (1: as fast). Needs the demo's data and build/demo/init, which
`make demo` makes.
    .venv/bin/python bench/busy.py [--task NAME ...] [--rounds N] [--baseline PROGRAM]
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEMO = ROOT / "build" / "demo"
PICTURES = 96


def recipe(stage, folder):
    """The demo's recipe of a stage without its validation, as a file of `folder`."""
    source = ROOT / "recipes" / f"demo_stage{stage}.toml"
    lines = [line for line in source.read_text().splitlines() if not line.startswith("validation")]
    path = folder / source.name
    path.write_text("\n".join(lines).replace('"../', f'"{ROOT}/') + "\n")
    return str(path)


def training(recipe, *settings):
    settings = (f"init={DEMO}/init", *settings)
    return ["train", recipe, "--output", "{folder}", *(word for setting in settings for word in ("--set", setting))]


def tasks(scale, cache):
    """Commands by the name of the task, {folder} being one of their own."""
    listed = cache / "pictures.txt"
    emoji = sorted((DEMO / "data" / "emoji").rglob("*.png"))[:round(PICTURES * scale)]
    listed.write_text("".join(f"{picture}\n" for picture in emoji))
    first, second = (recipe(stage, cache) for stage in (1, 2))
    cached = f"data.cache={cache}/features"
    shapes = json.dumps([f"{DEMO}/data/shapes_train.jsonl"])
    return {
        "stage1": training(first, cached, f"steps={round(60 * scale)}"),
        "stage2": training(second, cached, f"steps={round(16 * scale)}", "objectives.lm_from=0"),
        "features": training(first, "data.cache={folder}/features", "steps=1", f"data.train={shapes}",
                             "data.weights=[1]"),
        "captions": ["caption", "--model", f"{DEMO}/init", "--images-from", str(listed), "--max-new-tokens", "12"],
    }


@contextlib.contextmanager
def busy_process():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def seconds(program, command, at_once=1):
    """Until all of `at_once` runs of a command that started together have ended."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        runs = []
        for i in range(at_once):
            words = [word.format(folder=f"{folder}/{i}") for word in command]
            runs.append(subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        for run in runs:
            _, error = run.communicate()
            assert run.returncode == 0, error.decode()[-2000:]
        return time.perf_counter() - start


def measure(programs, command, rounds):
    """The best times of each program in each situation; programs take turns."""
    best = {name: {} for name in programs}
    for _ in range(rounds):
        for situation in ("alone", "beside", "two"):
            with busy_process() if situation == "beside" else contextlib.nullcontext():
                for name, program in programs.items():
                    took = seconds(program, command, 2 if situation == "two" else 1)
                    best[name][situation] = min(took, best[name].get(situation, took))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", action="append", choices=["stage1", "stage2", "features", "captions"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the work of each task")
    parser.add_argument("--baseline", help="another build's program, measured in turn")
    parser.add_argument("--build", default=os.environ.get("BLIP2_BUILD", str(ROOT / "build")))
    args = parser.parse_args()
    programs = {"program": f"{args.build}/blip2"}
    if args.baseline:
        programs["baseline"] = args.baseline
    with tempfile.TemporaryDirectory() as folder:
        cache = pathlib.Path(folder)
        commands = tasks(args.scale, cache)
        names = args.task or list(commands)
        for name in set(names) & {"stage1", "stage2"}:  # fills the cache
            seconds(programs["program"], [*commands[name], "--set", "steps=1"])
        for name in names:
            for program, took in measure(programs, commands[name], args.rounds).items():
                print(json.dumps({"task": name, "program": program,
                                  "seconds": {key: round(value, 2) for key, value in took.items()},
                                  "alone_share": round(took["alone"] / took["beside"], 2),
                                  "together": round(2 * took["alone"] / took["two"], 2)}), flush=True)


if __name__ == "__main__":
    main()

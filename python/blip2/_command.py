"""The program `blip2`, which comes with this package."""

import json
import os
import pathlib
import subprocess
import sys

from ._errors import Error


def program():
    """The program's path: in the package, or in a build folder that has the package beside it."""
    here = pathlib.Path(__file__).absolute().parent
    for place in (here / "bin" / "blip2", here.parents[1] / "blip2"):
        if place.is_file():
            return str(place)
    raise Error("the program is not there", str(here / "bin" / "blip2"), "install the package again")


def main():
    """What the command `blip2` runs."""
    os.execv(program(), ["blip2", *sys.argv[1:]])


def train(recipe, output, settings=None, *, resume=False, callback=None, arguments=()):
    """Runs a training recipe in a process of its own; returns the folder of the trained model.

    recipe: path of a TOML file. output: folder of the run. settings: {"batch_size": 64, "optimizer.lr": 1e-4}, over the
    recipe. resume: go on from the newest checkpoint. callback: called with the dict of each logged step (step, epoch, lr,
    loss, samples_per_second, ...) while it runs; what it raises stops the run, which has saved a checkpoint then, and so
    does Ctrl-C. arguments: more options of `blip2 train`. Raises Error with the program's message.
    """
    words = [program(), "train", os.fspath(recipe), "--json", "--output", os.fspath(output)]
    for key, value in (settings or {}).items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    words += ["--resume"] if resume else []
    with subprocess.Popen([*words, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as process:
        return _follow(process, os.fspath(output), callback)


def _follow(process, output, callback):
    import threading

    errors = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    try:
        for line in process.stdout:
            if callback is not None:
                callback(json.loads(line))
    except BaseException:
        process.terminate()  # it saves a checkpoint and ends
        process.wait()
        raise
    code = process.wait()
    reader.join()
    if code != 0:
        last = errors[-1].strip() if errors else f"the program ended with {code}"
        raise Error(last.removeprefix("blip2: "))
    return output

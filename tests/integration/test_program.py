"""The program's two files: the small one that people start, and the one with LibTorch behind it."""

import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time

import pytest

VERBS = ("caption", "capfilt", "vqa", "chat", "match", "label", "embed", "train", "eval", "tokenize",
         "preprocess", "convert", "inspect", "score", "bench", "serve", "index", "search", "duplicates",
         "completion", "manual")


def test_help_lists_every_verb(run):
    listed = run("--help").stdout.split("Subcommands:\n")[1].split("\n\n")[0]
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(VERBS)
    for verb in VERBS:
        assert f"blip2 {verb} [OPTIONS]" in run(verb, "--help").stdout


def test_what_people_start_has_no_libtorch(program):
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "torch" not in linked and "libc10" not in linked and "libgomp" not in linked


def processor_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_scores_of_a_hundred_captions_start_at_once(program, tmp_path):
    rows = "".join(f'{{"image": "{i}.png", "caption": "a dog number {i} runs"}}\n' for i in range(100))
    (tmp_path / "a.jsonl").write_text(rows)
    command = [program, "score", "--task", "caption", "--results", tmp_path / "a.jsonl",
               "--references", tmp_path / "a.jsonl"]
    # Of the processor, as other programs may run beside; loading LibTorch alone takes longer.
    assert min(processor_seconds(command) for _ in range(5)) <= 0.1


@pytest.mark.parametrize("verb, code", [("score", 2), ("inspect", 2), ("caption", 2), ("no-such-verb", 2), (None, 2)])
def test_wrong_usage_is_two_in_both(program, verb, code):
    done = subprocess.run([program, *([verb] if verb else [])], capture_output=True, text=True, cwd="/")
    assert done.returncode == code and done.stdout == "" and done.stderr


def test_a_missing_neighbour_is_named(program, tmp_path):
    alone = tmp_path / "bin" / "blip2"
    alone.parent.mkdir()
    shutil.copy(program, alone)
    # Not looked for along PATH, which leads to it.
    done = subprocess.run([alone, "--version"], capture_output=True, text=True,
                          env={**os.environ, "PATH": f"{pathlib.Path(program).parent}:{os.environ['PATH']}"})
    assert done.returncode == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert f"{alone.parent}/blip2-torch" in done.stderr and "libexec/blip2/blip2-torch" in done.stderr
    subprocess.run([alone, "score", "--help"], check=True, capture_output=True)  # needs none


def test_an_unusable_neighbour_is_named(program, tmp_path):
    shutil.copy(program, tmp_path / "blip2")
    (tmp_path / "blip2-torch").write_text("")
    done = subprocess.run([tmp_path / "blip2", "--version"], capture_output=True, text=True)
    assert done.returncode == 1 and "blip2-torch: cannot be started: Permission denied" in done.stderr


def test_ctrl_c_is_130_in_the_same_process(program, init, pictures, tmp_path):
    picture = next(pictures.glob("*.png"))
    (tmp_path / "many.jsonl").write_text(f'{{"image": "{picture}", "caption": "a circle"}}\n' * 20_000)
    process = subprocess.Popen([program, "eval", "--model", init, "--task", "caption", "--data",
                                tmp_path / "many.jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "blip2-torch" not in os.readlink(f"/proc/{process.pid}/exe"):
        time.sleep(0.02)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.stderr.read()

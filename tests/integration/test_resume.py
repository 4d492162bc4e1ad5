"""A run that was killed and resumed ends with the weights of one that never stopped."""

import json
import os
import random
import signal
import subprocess

import pytest
from waiting import wait_until

ROOT = __import__("pathlib").Path(__file__).resolve().parents[2]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    return [{key: value for key, value in line.items() if key not in ("samples_per_second", "data_share")}
            for line in lines]


@pytest.fixture
def start(program, pictures, init):
    """start(stage, output, resume, *settings) starts a run that logs every step; the process."""

    def call(stage, output, resume=False, *changes):
        settings = [f"init={init}", f"data.train={pictures / 'my.jsonl'}", "batch_size=8", "steps=9",
                    "data.views=1", f"data.cache={pictures / 'features'}",
                    f"data.validation={pictures / 'val.jsonl'}", "schedule.warmup_steps=2",
                    "log_every=1", "checkpoint.every=2", *changes]
        flags = [word for setting in settings for word in ("--set", setting)]
        return subprocess.Popen(
            [program, "train", ROOT / "recipes" / f"tiny_stage{stage}.toml", *flags, "--output",
             output, *(["--resume"] if resume else [])], stderr=subprocess.PIPE, text=True)

    return call


def wait(process, code=0):
    _, error = process.communicate(timeout=300)
    assert process.returncode == code, error[-2000:]


@pytest.mark.parametrize("stage, language", [(1, ""), (2, ""), (2, "T5")])
def test_killed_and_resumed_is_as_never_stopped(request, start, tmp_path, stage, language):
    changes = []
    if language == "T5":
        changes = [f"init={request.getfixturevalue('t5_init')}", "objectives.prefix_lm=1", "objectives.cmlm=1"]
    wait(start(stage, tmp_path / "whole", False, *changes))
    generator, killed = random.Random(stage), tmp_path / "killed"
    for attempt in range(3):
        process = start(stage, killed, attempt > 0, *changes)
        after = generator.randint(1, 8)
        log = killed / "log.jsonl"
        wait_until(lambda: process.poll() is not None or log.exists() and log.read_text().count("\n") >= after,
                   every=0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    wait(start(stage, killed, True, *changes))
    name = "model-bridge.safetensors"
    assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert losses(killed) == losses(tmp_path / "whole")


def test_interrupt_saves_and_exits_with_130(start, tmp_path):
    process = start(1, tmp_path / "run")
    log = tmp_path / "run" / "log.jsonl"
    wait_until(lambda: log.exists() and log.read_text(), [process], every=0.005)
    os.kill(process.pid, signal.SIGINT)
    wait(process, 130)
    assert list((tmp_path / "run" / "checkpoints").glob("step_*"))
    wait(start(1, tmp_path / "run", resume=True))
    assert (tmp_path / "run" / "config.json").exists()


def test_same_seed_same_log(start, tmp_path):
    for name in ("a", "b"):
        wait(start(1, tmp_path / name))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")

"""A disk that fails while a checkpoint is saved, and processes killed again and again.

BLIP2_THOROUGH=1 fails every single write and kills 200 times, which takes a quarter of an hour.
"""

import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest
from waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BRIDGE = "model-bridge.safetensors"
THOROUGH = os.environ.get("BLIP2_THOROUGH") == "1"


@pytest.fixture
def command(program, pictures, init):
    def make(output, *settings, flags=()):
        chosen = [f"init={init}", f"data.train={pictures / 'my.jsonl'}", "batch_size=8", "data.views=0",
                  f"data.cache={pictures / 'features'}", "schedule.warmup_steps=2", "log_every=1", *settings]
        return [str(program), "train", str(ROOT / "recipes" / "tiny_stage1.toml"),
                *(word for setting in chosen for word in ("--set", setting)), "--output", str(output),
                "--threads", "1", *flags]

    return make


def test_a_failing_disk_costs_no_checkpoint(command, failing_disk, tmp_path):
    """Whatever fails while step 4 is saved, the checkpoint of step 2 stays and the run can go on."""
    base = tmp_path / "base"
    subprocess.run(command(base, "steps=2", "checkpoint.every=2"), check=True, capture_output=True)
    flags = ["--resume", "--allow-changed"]

    def resume(name, **fault):
        output = tmp_path / name
        shutil.copytree(base, output)
        environment = failing_disk(f"{name}/checkpoints", count=tmp_path / "count", **fault)
        return output, subprocess.run(command(output, "steps=4", "checkpoint.every=2", flags=flags),
                                      env=environment, capture_output=True, text=True)

    whole, done = resume("whole")
    assert done.returncode == 0, done.stderr
    calls = int((tmp_path / "count").read_text())
    assert calls > 100
    at_random = sorted(random.Random(3).sample(range(1, calls + 1), 12))
    chosen = range(1, calls + 1) if THOROUGH else sorted({1, 2, 3, 4, *at_random, *range(calls - 8, calls + 1)})
    named = 0
    for call in chosen:
        number = errno.ENOSPC if call % 2 else errno.EIO
        output, done = resume(f"run{call}", at=call, errno=number)
        if done.returncode != 0:  # a folder that cannot be synced is no loss
            named += 1
            assert done.returncode == 1, (call, done.stderr)
            [line] = [line for line in done.stderr.splitlines() if "checkpoints" in line]
            assert os.strerror(number) in line, line
            if "write" in line:
                assert "bytes" in line, line
            assert (output / "checkpoints" / "step_00000002" / "state.json").exists()
            subprocess.run(command(output, "steps=4", "checkpoint.every=2", flags=flags), check=True,
                           capture_output=True)
        assert (output / BRIDGE).read_bytes() == (whole / BRIDGE).read_bytes(), call
        shutil.rmtree(output)
    assert named >= len(chosen) - 8


def saved_steps(output):
    """The last step that a checkpoint stands at; 0 without one."""
    return max([0, *(int(path.name[5:]) for path in (output / "checkpoints").glob("step_????????"))])


def test_killed_again_and_again(command, tmp_path):
    """Killed at random moments, while saving too, the run ends as one that was never stopped."""
    kills = 200 if THOROUGH else 12
    settings = [f"steps={30 * kills}", "checkpoint.every=2", "checkpoint.keep=2"]
    generator, output = random.Random(5), tmp_path / "killed"
    steps = 0
    for attempt in range(kills):
        process = subprocess.Popen(command(output, *settings, flags=["--resume"]), stderr=subprocess.DEVNULL)
        before = steps
        wait_until(lambda: saved_steps(output) > before, [process])  # it goes on from where it was
        time.sleep(generator.uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        steps = saved_steps(output)
    assert steps < 30 * kills
    whole = tmp_path / "whole"
    subprocess.run(command(output, *settings, flags=["--resume"]), check=True, capture_output=True)
    subprocess.run(command(whole, *settings), check=True, capture_output=True)
    assert (output / BRIDGE).read_bytes() == (whole / BRIDGE).read_bytes()

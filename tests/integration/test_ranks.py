"""Several processes train as one: the same losses and weights, and none of them hangs."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from ranks import finish, free_port, start
from safetensors.torch import load_file
from waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BRIDGE, ADAPTERS = "model-bridge.safetensors", "adapter_model.safetensors"


@pytest.fixture
def command(program, pictures, init):
    """command(stage, output, *settings): a run of few steps that logs each."""

    def make(stage, output, *settings, flags=()):
        data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]' if stage == 2 else (
            f"data.train={pictures / 'my.jsonl'}")
        chosen = [f"init={init}", data, "batch_size=8", "steps=6", "data.views=1", "dropout=0",
                  "precision=f32", f"data.cache={pictures / 'features'}", "schedule.warmup_steps=2",
                  "log_every=1", "checkpoint.every=3", f"data.validation={pictures / 'val.jsonl'}", *settings]
        return [str(program), "train", str(ROOT / "recipes" / f"tiny_stage{stage}.toml"),
                *(word for setting in chosen for word in ("--set", setting)), "--output", str(output),
                "--threads", "1", *flags]

    return make


def together(command, ranks, *arguments, **options):
    finish(start(lambda rank: command(*arguments, **options), ranks, free_port()))


def alone(command, *arguments, **options):
    subprocess.run(command(*arguments, **options), check=True, capture_output=True)


def logged(folder):
    """The lines of the log, the last perhaps half written."""
    return [json.loads(line) for line in (folder / "log.jsonl").open() if line.endswith("\n")]


def assert_same_log(folder, other, tolerance=1e-5):
    for one, two in zip(logged(folder), logged(other), strict=True):
        for line in (one, two):
            line.pop("samples_per_second", None), line.pop("data_share", None)
        assert one.keys() == two.keys()
        for key, value in one.items():
            assert two[key] == pytest.approx(value, rel=tolerance, abs=1e-7), (one["step"], key)


def assert_same_weights(folder, other):
    for file in (BRIDGE, ADAPTERS):
        if file == ADAPTERS and not (folder / file).exists():
            continue
        one, two = load_file(folder / file), load_file(other / file)
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert torch.allclose(value, two[name], rtol=1e-4, atol=2e-5), name


OBJECTIVES = {
    "itc": (1, ["objectives.itm=0", "objectives.itg=0"]),
    "itm": (1, ["objectives.itc=0", "objectives.itg=0"]),
    "itg": (1, ["objectives.itc=0", "objectives.itm=0"]),
    "all": (1, ["objectives.mlm=0.5", "objectives.mrm=0.5"]),
    "words": (1, ["objectives.words=1"]),
    "lm": (2, []),
    "lora": (2, ["language.lora_rank=4", "language.lora_targets=all-linear"]),
    "cmlm": (2, ["objectives.cmlm=0.5", "prompt.to_qformer=true"]),
    "prefix_lm": (2, ["objectives.prefix_lm=1", "objectives.cmlm=0.5", "prompt.to_qformer=true"]),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_ranks_are_one_with_the_whole_batch(command, t5_init, tmp_path, name):
    """Losses, norms of gradients and accuracies of each step, hard negatives included."""
    stage, settings = OBJECTIVES[name]
    if name == "prefix_lm":
        settings = [*settings, f"init={t5_init}"]
    alone(command, stage, tmp_path / "one", *settings)
    together(command, 2, stage, tmp_path / "two", *settings)
    assert_same_log(tmp_path / "one", tmp_path / "two")
    assert_same_weights(tmp_path / "one", tmp_path / "two")


def test_four_ranks(command, tmp_path):
    alone(command, 2, tmp_path / "whole")
    together(command, 4, 2, tmp_path / "four")
    assert_same_log(tmp_path / "whole", tmp_path / "four")
    assert_same_weights(tmp_path / "whole", tmp_path / "four")


def test_without_room_for_shared_memory(command, failing_disk, tmp_path):
    """Gradients travel then, as they do between machines."""
    alone(command, 2, tmp_path / "whole")
    full = failing_disk("/dev/shm/blip2-", at=1, errno=errno.ENOSPC, count=tmp_path / "count")
    finish(start(lambda rank: command(2, tmp_path / "two"), 2, free_port(), env=lambda rank: full if rank == 0 else {}))
    assert int((tmp_path / "count").read_text()) >= 1
    assert_same_log(tmp_path / "whole", tmp_path / "two")
    assert_same_weights(tmp_path / "whole", tmp_path / "two")


def test_a_batch_in_parts(command, pictures, tmp_path):
    """Answers of equal length, so that the mean of the parts' means is the mean."""
    data = f"data.train={pictures}/vqa.jsonl"
    alone(command, 2, tmp_path / "whole", data)
    alone(command, 2, tmp_path / "parts", data, "accumulate=4")
    together(command, 2, 2, tmp_path / "both", data, "accumulate=2")
    for name in ("parts", "both"):
        assert_same_log(tmp_path / "whole", tmp_path / name)
        assert_same_weights(tmp_path / "whole", tmp_path / name)


def test_ranks_may_change_between_runs(command, tmp_path):
    """From two processes to one and back: each step sees the samples of a run that never stopped."""
    # A small rate, so that rounding does not grow over the steps as other samples would.
    settings, mixed = ["steps=150", "optimizer.lr=1e-6", "schedule.min_lr=0"], tmp_path / "mixed"
    alone(command, 1, tmp_path / "whole", *settings)
    for ranks in (2, 1, 2):
        flags = ["--resume"] if mixed.exists() else []
        before = len(logged(mixed)) if mixed.exists() else 0
        processes = start(lambda rank: command(1, mixed, *settings, flags=flags), ranks, free_port())
        wait_until(lambda: (mixed / "log.jsonl").exists() and len(logged(mixed)) >= before + 20, processes)
        processes[-1].send_signal(signal.SIGTERM)
        finish(processes, codes=[130] * ranks)
    together(command, 2, 1, mixed, *settings, flags=["--resume"])
    assert len([line for line in logged(mixed) if "loss" in line]) == 150
    assert_same_log(tmp_path / "whole", mixed, tolerance=1e-4)


def test_a_dead_process_ends_the_others_and_is_named(command, tmp_path):
    output = tmp_path / "run"
    processes = start(lambda rank: command(1, output, "steps=100000", flags=["--timeout", "20"]), 2, free_port())
    log = output / "log.jsonl"
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 3, processes)
    processes[1].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, error = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1 and "rank 1 does not answer" in error, error
    assert time.monotonic() - began < 20
    processes[1].communicate(timeout=60)


def test_other_settings_are_named(command, tmp_path):
    processes = start(lambda rank: command(1, tmp_path / "run", f"optimizer.lr={1 + rank}e-4"), 2, free_port())
    for _, error in finish(processes, codes=[1, 1]):
        assert "rank 1 runs with other settings than rank 0: optimizer/lr: 0.0001 -> 0.0002" in error


def test_uneven_shares_are_refused(command, tmp_path):
    processes = start(lambda rank: command(1, tmp_path / "run", "batch_size=9"), 2, free_port())
    for _, error in finish(processes, codes=[1, 1]):
        assert "batch_size: expected a multiple of 2" in error


def test_interrupting_one_saves_and_stops_all(command, tmp_path):
    output = tmp_path / "run"
    processes = start(lambda rank: command(1, output, "steps=100000"), 2, free_port())
    wait_until((output / "log.jsonl").exists, processes)
    processes[1].send_signal(signal.SIGINT)
    finish(processes, codes=[130, 130])
    assert list((output / "checkpoints").glob("step_*"))


def test_torchrun_starts_them_again(command, tmp_path):
    """A killed worker: torchrun restarts all, which go on from the last checkpoint to the end."""
    output, pids = tmp_path / "run", tmp_path / "pids"
    pids.mkdir()
    wrapper = tmp_path / "wrapper.sh"
    arguments = command(1, output, "steps=40", flags=["--resume"])
    quoted = " ".join(f"'{word}'" for word in arguments)
    wrapper.write_text(f"#!/bin/sh\necho $$ > {pids}/$TORCHELASTIC_RESTART_COUNT.$RANK\nexec {quoted}\n")
    wrapper.chmod(0o755)
    run = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1", "--no-python",
         "--master-port", str(free_port()), str(wrapper)], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(output.glob("checkpoints/step_*")), [run])
    os.kill(int((pids / "0.1").read_text()), signal.SIGKILL)
    _, error = run.communicate(timeout=240)
    assert run.returncode == 0, error[-3000:]
    assert (pids / "1.0").exists()
    assert [line["step"] for line in logged(output) if "loss" in line] == list(range(1, 41))
    alone(command, 1, tmp_path / "one", "steps=40")
    assert_same_log(tmp_path / "one", output, tolerance=1e-3)


@pytest.fixture
def two_hosts():
    """Two network namespaces joined by a cable: 10.77.0.1 and 10.77.0.2."""
    names = [f"blip2-{os.getpid()}-{side}" for side in "ab"]
    ip = shutil.which("ip")
    if not ip or subprocess.run([ip, "netns", "add", names[0]], capture_output=True).returncode:
        pytest.skip("needs root and iproute2")
    try:
        subprocess.run([ip, "netns", "add", names[1]], check=True)
        subprocess.run([ip, "link", "add", "va", "netns", names[0], "type", "veth", "peer", "name", "vb",
                        "netns", names[1]], check=True)
        for name, device, address in zip(names, ("va", "vb"), ("10.77.0.1", "10.77.0.2")):
            inside = [ip, "-n", name]
            subprocess.run([*inside, "addr", "add", f"{address}/24", "dev", device], check=True)
            subprocess.run([*inside, "link", "set", device, "up"], check=True)
            subprocess.run([*inside, "link", "set", "lo", "up"], check=True)
        yield [[ip, "netns", "exec", name] for name in names]
    finally:
        for name in names:
            subprocess.run([ip, "netns", "del", name], capture_output=True)


def test_two_hosts(command, tmp_path, two_hosts):
    alone(command, 1, tmp_path / "one")
    finish(start(lambda rank: command(1, tmp_path / "two"), 2, 29577, lambda rank: two_hosts[rank], "10.77.0.1"))
    assert_same_log(tmp_path / "one", tmp_path / "two")

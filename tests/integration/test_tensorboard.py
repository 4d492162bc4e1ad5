"""A run's event files, read by TensorBoard itself, and its report."""

import json
import pathlib
import signal

import pytest
from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from waiting import wait_until


def scalars(folder):
    """Of each tag, (step, value) as TensorBoard shows them."""
    reader = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    result = {}
    for tag in reader.Tags()["scalars"]:
        result[tag] = [(event.step, event.value) for event in reader.Scalars(tag)]
    return result


def expected(folder):
    """The same of log.jsonl."""
    result = {}
    for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines()):
        step = line.pop("step")
        for name, value in line.items():
            tag = name.replace("validation_", "validation/") if name.startswith("validation_") else f"train/{name}"
            result.setdefault(tag, []).append((step, pytest.approx(value, rel=1e-6)))
    return result


def event_files(folder):
    return sorted(folder.glob("events.out.tfevents.*"))


def test_tensorboard_reads_every_number_once(train, pictures, tmp_path):
    settings = [f"data.validation={pictures / 'val.jsonl'}", "steps=6", "checkpoint.every=2",
                "log.tensorboard=true"]
    run = tmp_path / "run"
    train(1, run, *settings)
    assert scalars(run) == expected(run)
    assert {"train/loss", "train/lr", "train/itc", "validation/loss"} <= set(expected(run))
    # As if it had been stopped in step 5: the log holds steps that no checkpoint does.
    for name in ("step_00000006",):
        for file in (run / "checkpoints" / name).iterdir():
            file.unlink()
        (run / "checkpoints" / name).rmdir()
    train(1, run, *settings, resume=True)
    first, second = event_files(run)
    assert {event.step for event in event_file_loader.EventFileLoader(str(first)).Load()} >= {5, 6}
    assert {event.step for event in event_file_loader.EventFileLoader(str(second)).Load()} >= {5, 6}
    shown = scalars(run)
    assert shown == expected(run)
    assert all(len({step for step, _ in points}) == len(points) for points in shown.values())


def test_no_event_file_unless_asked(stage1):
    assert not event_files(stage1)


def test_events_are_there_while_the_run_goes_on(program, init, pictures, tmp_path):
    import subprocess

    root = pathlib.Path(__file__).resolve().parents[2]
    settings = [f"init={init}", f"data.train={pictures / 'my.jsonl'}", "steps=1000", "batch_size=4",
                f"data.cache={pictures / 'features'}", "data.views=1", "log_every=1"]
    flags = [word for setting in settings for word in ("--set", setting)]
    run = subprocess.Popen([str(program), "train", str(root / "recipes" / "tiny_stage1.toml"), *flags,
                            "--output", str(tmp_path / "run"), "--tensorboard"],
                           cwd="/", stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: event_files(tmp_path / "run") and
                   len(scalars(tmp_path / "run").get("train/loss", [])) >= 2, [run], every=0.2)
    finally:
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=120) == 130


def test_report_shows_the_run(train, stage1, pictures, tmp_path):
    page = (stage1 / "report.html").read_text()
    assert page.count("<svg") >= 4 and "validation_loss" in page and "max_text_tokens" in page
    run = tmp_path / "run"
    train(2, run, f"init={stage1}", f'data.validation=["{pictures}/val.jsonl", "{pictures}/vqa.jsonl"]',
          "steps=2")
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 12
    assert "what color is it?" in page and "in the data: a red circle" in page
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "")

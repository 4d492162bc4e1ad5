"""Runs that train the image encoder: resumed, the best of them kept, exported, used by the verbs."""

import json
import pathlib
import random
import shutil
import signal
import subprocess

import pytest
import torch
from safetensors.torch import load_file
from test_ranks import finish, free_port, start as start_ranks
from waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
VISION, BRIDGE = "model-vision.safetensors", "model-bridge.safetensors"


@pytest.fixture
def command(program, pictures, vit_init):
    """command(stage, output, *settings): a run of few steps that trains the image encoder."""

    def make(stage, output, *settings, flags=()):
        chosen = [f"init={vit_init}", f"data.train={pictures / 'my.jsonl'}", "data.features=live", "data.views=1",
                  f"data.validation={pictures / 'val.jsonl'}", "image_encoder.train=true", "batch_size=8", "steps=6",
                  "schedule.warmup_steps=1", "log_every=1", "checkpoint.every=2", *settings]
        return [str(program), "train", str(ROOT / "recipes" / f"tiny_stage{stage}.toml"),
                *(word for setting in chosen for word in ("--set", setting)), "--output", str(output),
                "--threads", "1", *flags]

    return make


@pytest.fixture
def train(command):
    def call(*arguments, code=0, **options):
        done = subprocess.run(command(*arguments, **options), capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr[-3000:]
        return done

    return call


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    return [{key: value for key, value in line.items() if key not in ("samples_per_second", "data_share")} for line in lines]


@pytest.mark.parametrize("stage", [1, 2])
def test_killed_and_resumed_is_as_never_stopped(train, command, tmp_path, stage):
    more = ["image_encoder.drop_path=0.3", "image_encoder.checkpointing=true", "image_encoder.layer_decay=0.8",
            "image_encoder.image_size=42", "accumulate=2", "checkpoint.every=1"]
    train(stage, tmp_path / "whole", *more)
    generator, killed = random.Random(stage), tmp_path / "killed"
    for attempt in range(2):
        process = subprocess.Popen(command(stage, killed, *more, flags=["--resume"] if attempt else []),
                                   stderr=subprocess.DEVNULL)
        after, log = generator.randint(1, 8), killed / "log.jsonl"
        wait_until(lambda: process.poll() is not None or log.exists() and log.read_text().count("\n") >= after,
                   every=0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    train(stage, killed, *more, flags=["--resume"])
    for name in (VISION, BRIDGE):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert log_of(killed) == log_of(tmp_path / "whole")


def test_the_best_on_validation_is_exported(train, vit_init, tmp_path):
    """A rate that rises beyond all reason: the first checkpoint is the best."""
    before = (vit_init / VISION).read_bytes()
    train(1, tmp_path / "run", "optimizer.lr=1", "schedule.warmup_steps=6", "checkpoint.keep=1",
          "image_encoder.image_size=42")
    losses = {line["step"]: line["validation_loss"] for line in log_of(tmp_path / "run") if "validation_loss" in line}
    best = min(losses, key=losses.get)
    assert best == 2, losses
    kept = load_file(tmp_path / "run" / "checkpoints" / f"step_{best:08}" / "weights.safetensors")
    exported = load_file(tmp_path / "run" / VISION)
    for name, value in exported.items():
        assert torch.equal(value, kept[name]), name
    # The model that the run started from is as it was, although frozen parts are hard links.
    assert (vit_init / VISION).read_bytes() == before
    assert json.loads((vit_init / "preprocessor_config.json").read_text()) != json.loads(
        (tmp_path / "run" / "preprocessor_config.json").read_text())
    config = json.loads((tmp_path / "run" / "config.json").read_text())["vision_config"]
    assert config["image_size"] == 42
    table = next(value for name, value in exported.items() if "position_embedding" in name)
    assert table.shape == (1 + 3 * 3, config["hidden_size"])


def test_every_weight_learns_at_its_layers_rate(train, vit_init, tmp_path):
    """AdamW's first step moves every weight by its rate: the decay's power shows."""
    train(2, tmp_path / "run", "steps=1", "optimizer.lr=1e-3", "schedule.warmup_steps=0", "optimizer.weight_decay=0",
          "image_encoder.layer_decay=0.5", "precision=f32", "optimizer.eps=1e-16")
    before, after = load_file(vit_init / VISION), load_file(tmp_path / "run" / VISION)
    for name, layer in (("embeddings.patch_embedding.weight", 0), ("encoder.layers.0.mlp.fc1.weight", 1),
                        ("encoder.layers.1.self_attn.out_proj.weight", 2)):
        name = f"vision_model.{name}"
        moved = (after[name] - before[name]).abs().median().item()
        assert moved == pytest.approx(1e-3 * 0.5 ** (2 + 1 - layer), rel=1e-2), name


def test_verbs_use_the_trained_encoder(train, run_json, vit_init, pictures, tmp_path):
    train(1, tmp_path / "stage1", "image_encoder.image_size=42", "optimizer.lr=1e-2", "data.validation=[]")
    train(2, tmp_path / "stage2", f"init={tmp_path / 'stage1'}", "optimizer.lr=1e-2", "data.validation=[]")
    picture = pictures / "red_circle_4.png"

    def contrast(model):
        return run_json("match", "--model", model, "--text", "a red circle", picture)[0]["itc"]

    # Stage 2 changes the encoder again; matching stays with the model of stage 1.
    assert contrast(tmp_path / "stage2") == contrast(tmp_path / "stage1")
    shutil.copytree(tmp_path / "stage1", tmp_path / "mixed")
    shutil.copy(tmp_path / "stage2" / VISION, tmp_path / "mixed" / VISION)
    assert contrast(tmp_path / "mixed") != contrast(tmp_path / "stage1")
    assert "text" in run_json("caption", "--model", tmp_path / "stage2", picture)[0]
    shape = run_json("preprocess", "--model", tmp_path / "stage2", picture, "--output", tmp_path / "p.safetensors")
    assert shape[0]["shape"] == [1, 3, 42, 42]


@pytest.mark.parametrize("stage", [1, 2])
def test_processes_train_as_one(command, train, tmp_path, stage):
    """Also what stochastic depth drops does not depend on who computes it."""
    more = ["dropout=0", "precision=f32", "image_encoder.drop_path=0.3"]
    train(stage, tmp_path / "one", *more)
    finish(start_ranks(lambda rank: command(stage, tmp_path / "two", *more), 2, free_port()))
    for one, two in zip(log_of(tmp_path / "one"), log_of(tmp_path / "two"), strict=True):
        for key, value in one.items():
            assert two[key] == pytest.approx(value, rel=1e-4, abs=1e-6), (one["step"], key)


def test_bad_validation_pictures_are_left_out(train, pictures, tmp_path):
    lines = (pictures / "val.jsonl").read_text().splitlines()[:8]
    records = [json.loads(line) for line in lines]
    for record in records:
        record["image"] = str(pictures / record["image"])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    records.append({"image": "bad.png", "caption": "a red circle"})
    (tmp_path / "val.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    validation = f"data.validation={tmp_path / 'val.jsonl'}"
    done = train(2, tmp_path / "run", validation, "data.bad_share=0.2", "steps=2")
    assert "bad.png" in done.stderr
    done = train(2, tmp_path / "strict", validation, "steps=2", code=1)
    assert "bad.png" in done.stderr


def test_a_dry_run_trains_the_encoder(train, tmp_path):
    done = train(2, tmp_path / "run", flags=["--dry-run"])
    assert "the run can start" in done.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting, expected", [
    ("data.features=cached", "data.features: expected live with image_encoder.train"),
    ("image_encoder.image_size=30", "image_size"),
    ("image_encoder.layer_decay=1.5", "image_encoder.layer_decay: expected a number"),
    ("image_encoder.drop_path=1", "image_encoder.drop_path: expected a number"),
    ("image_encoder.train=false", None),
])
def test_settings_that_do_not_fit(train, tmp_path, setting, expected):
    if expected:
        assert expected in train(2, tmp_path / "run", setting, code=1).stderr
        return
    done = train(2, tmp_path / "run", setting, "image_encoder.drop_path=0.1", code=1)
    assert "image_encoder.train: expected true with other keys" in done.stderr


def test_other_encoders_stay_frozen(train, init, tmp_path):
    done = train(1, tmp_path / "run", f"init={init}", code=1)
    assert "expected a vision transformer, got efficientnet_lite" in done.stderr

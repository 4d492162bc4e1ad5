"""A run that is refused before its first step: one line that names recipe, key and file, and nothing left."""

import json

import pytest
from conftest import ROOT


@pytest.fixture
def refused(run, init, pictures, tmp_path):
    """refused(settings, stage): what is said of a recipe that is beside no run, cache or other file."""
    recipe = tmp_path / "mine.toml"

    def call(*settings, stage=1, flags=("--output", tmp_path / "runs" / "one" / "out")):
        recipe.write_text((ROOT / "recipes" / f"tiny_stage{stage}.toml").read_text())
        before = sorted(tmp_path.rglob("*"))
        chosen = [f"init={init}", f"data.train={pictures / 'my.jsonl'}", "batch_size=8", *settings]
        words = [word for setting in chosen for word in ("--set", setting)]
        said = run("train", recipe, *words, *flags, code=1).stderr
        assert len(said.splitlines()) == 1 and str(recipe) in said, said
        assert sorted(tmp_path.rglob("*")) == before
        return said

    return call


def test_what_is_not_there(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    output = ["--output", tmp_path / "runs" / "out"]
    for flags in (output, ["--dry-run", *output], ["--plan"]):
        said = refused(f"init={tmp_path / 'nothing'}", flags=flags)
        assert f"mine.toml: init: there is no folder {tmp_path / 'nothing'}" in said
        said = refused(f"init={tmp_path / 'empty'}", flags=flags)
        assert f"mine.toml: init: expected a model directory, there is no {tmp_path / 'empty' / 'config.json'}" in said
        for key in ("data.train", "data.validation"):
            said = refused(f"{key}={tmp_path / 'nothing.jsonl'}", flags=flags)
            assert f"mine.toml: {key}: {tmp_path / 'nothing.jsonl'}: cannot open" in said


def test_questions_in_stage_1(refused, pictures, tmp_path):
    """The data file and the line, of whatever objectives, however features are read."""
    captions, image = pictures / "my.jsonl", sorted(pictures.glob("*.png"))[0]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("\n".join(json.dumps({"image": str(image), **texts}) for texts in (
        {"caption": "a"}, {"question": "what?", "answer": "red"})))
    data = f'data.train=["{captions}", "{mixed}"]'
    for settings in (["objectives.mlm=1", "objectives.mrm=1"], ["data.features=live"], []):
        said = refused(data, *settings)
        assert f"mine.toml: data.train: {mixed}:2: expected captions, got a question" in said
    said = refused(f"data.validation={pictures / 'vqa.jsonl'}")
    assert f"data.validation: {pictures / 'vqa.jsonl'}:1: expected captions" in said


def test_keys_that_do_not_fit_the_model(refused):
    said = refused("language.lora_rank=4", "language.lora_targets=c_attn", stage=2)
    assert "mine.toml: language.lora_targets: 'c_attn' names no matrix" in said
    said = refused("objectives.prefix_lm=1", stage=2)
    assert "mine.toml: objectives.prefix_lm: prefix language modelling needs" in said
    said = refused("image_encoder.train=true", "data.features=live")
    assert "mine.toml: image_encoder.train: expected a vision transformer" in said


def test_a_folder_that_was_there_stays(refused, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused(f"data.train={tmp_path / 'nothing.jsonl'}", flags=("--output", out))
    (out / ".lock").touch()
    refused(f"data.train={tmp_path / 'nothing.jsonl'}", flags=("--output", out))
    assert sorted(path.name for path in out.iterdir()) == [".lock", "notes.txt"]

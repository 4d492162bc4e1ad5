"""Each objective trains by a toy recipe: what it logs, and that its loss falls."""

import json

import numpy
import pytest


def logged(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
    return [line for line in lines if "loss" in line]


def falls(losses, share):
    assert numpy.isfinite(losses).all()
    return numpy.mean(losses[-4:]) < share * numpy.mean(losses[:4])


def only(*names):
    return [f"objectives.{name}={int(name in names)}" for name in ("itc", "itm", "itg", "mlm", "mrm")]


FAST = ("dropout=0", "data.views=0", "optimizer.lr=4e-3", "checkpoint.every=1000")


@pytest.mark.parametrize("name, share", [("mlm", 0.4), ("mrm", 0.9)])
def test_stage1_by_one_objective(train, tmp_path, name, share):
    train(1, tmp_path / "run", *only(name), "steps=120", *FAST)
    lines = logged(tmp_path / "run")
    assert all(line["loss"] == line[name] for line in lines)
    assert not {"itc", "itm", "itg"} & set(lines[0])
    assert falls([line["loss"] for line in lines], share)


def test_stage1_by_all_with_weights(train, pictures, tmp_path):
    weights = ("objectives.mlm=0.5", "objectives.mrm=0.25")
    train(1, tmp_path / "run", *weights, "steps=12", f"data.validation={pictures / 'val.jsonl'}", *FAST)
    lines = logged(tmp_path / "run")
    for line in lines:
        total = line["itc"] + line["itm"] + line["itg"] + 0.5 * line["mlm"] + 0.25 * line["mrm"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
    assert falls([line["loss"] for line in lines], 0.97)
    validated = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()][-1]
    assert {"validation_mlm", "validation_mrm", "validation_itc"} <= set(validated)


def test_validation_is_computed_in_the_parts_of_a_step(train, pictures, tmp_path):
    """Contrast reaches over a part, in training and in validation."""
    def contrast(folder, *settings):
        train(1, folder, *FAST, f"data.validation={pictures / 'val.jsonl'}", "steps=1", "optimizer.lr=1e-9",
              "schedule.min_lr=0", "precision=f32", *settings)
        return [json.loads(line) for line in (folder / "log.jsonl").open()][-1]["validation_itc"]

    parts = contrast(tmp_path / "parts", "batch_size=8", "accumulate=2")
    assert parts == pytest.approx(contrast(tmp_path / "small", "batch_size=4"), rel=1e-5)
    assert parts < 0.9 * contrast(tmp_path / "whole", "batch_size=8")


def test_objectives_of_stage1_start_late(train, tmp_path):
    train(1, tmp_path / "run", "objectives.itg_from=2", "objectives.itm_from=3", "steps=4", *FAST)
    began = [{"itc", "itm", "itg"} & set(line) for line in logged(tmp_path / "run")]
    assert began == [{"itc"}, {"itc"}, {"itc", "itg"}, {"itc", "itm", "itg"}]


def test_objectives_of_stage1_pause(train, tmp_path):
    train(1, tmp_path / "run", "objectives.itm_every=3", "objectives.itg_from=1", "objectives.itg_every=2",
          "steps=7", *FAST)
    lines = logged(tmp_path / "run")
    taken = {name: [i for i, line in enumerate(lines) if name in line] for name in ("itc", "itm", "itg")}
    assert taken == {"itc": [0, 1, 2, 3, 4, 5, 6], "itm": [0, 3, 6], "itg": [1, 3, 5]}
    for line in lines:  # at full weight
        assert line["loss"] == pytest.approx(sum(line.get(name, 0) for name in taken), rel=1e-5)


def test_stage1_alternates(train, tmp_path):
    weights = ("objectives.itm=0", "objectives.itg=2", "objectives.mlm=1", "objectives.alternate=true")
    train(1, tmp_path / "run", *weights, "steps=16", *FAST)
    trained = []
    for line in logged(tmp_path / "run"):
        [name] = {"itc", "itm", "itg", "mlm", "mrm"} & set(line)
        assert line["loss"] == line[name]
        trained.append(name)
    assert trained.count("itg") == 8 and trained.count("itc") == trained.count("mlm") == 4


def test_stage2_by_masked_answers(train, pictures, tmp_path):
    data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]'
    train(2, tmp_path / "run", data, "objectives.lm=0", "objectives.cmlm=1", "steps=120", *FAST)
    lines = logged(tmp_path / "run")
    assert all(line["loss"] == line["cmlm"] for line in lines)
    assert falls([line["loss"] for line in lines], 0.8)


def test_stage2_with_an_encoder_decoder(train, run_json, pictures, t5_init, tmp_path):
    """The losses fall; the model captions, answers, and keeps its heads of stage 1."""
    folder = tmp_path / "run"
    data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]'
    train(2, folder, f"init={t5_init}", data, f"data.validation={pictures / 'val.jsonl'}", "objectives.lm=0",
          "objectives.prefix_lm=1", "objectives.cmlm=0.5", "steps=24", *FAST, "optimizer.lr=2e-3")
    lines = logged(folder)
    for line in lines:
        assert line["loss"] == pytest.approx(line["prefix_lm"] + 0.5 * line["cmlm"], rel=1e-5)
    assert falls([line["loss"] for line in lines], 0.85)
    last = [json.loads(line) for line in (folder / "log.jsonl").open()][-1]
    assert 0 < last["validation_loss"] < 0.8 * lines[0]["prefix_lm"]
    image = pictures / "red_circle_4.png"
    longer = ("--min-new-tokens", 3, image)
    [caption] = run_json("caption", "--model", folder, *longer)
    [answer] = run_json("vqa", "--model", folder, "--question", "what color is it?", *longer)
    assert len(caption["tokens"]) >= 3 and len(answer["tokens"]) >= 3
    assert "itm" in run_json("match", "--model", folder, "--text", "a red circle", image)[0]


def test_an_int8_encoder_decoder_trains_nearly_as_it_is(train, t5_init, pictures, tmp_path):
    losses = {}
    for weights in ("auto", "int8"):
        train(2, tmp_path / weights, f"init={t5_init}", "objectives.lm=0", "objectives.prefix_lm=1",
              "steps=6", f"language_weights={weights}", "precision=f32", *FAST, "optimizer.lr=2e-4")
        losses[weights] = [line["loss"] for line in logged(tmp_path / weights)]
    assert losses["auto"] != losses["int8"]
    assert losses["int8"] == pytest.approx(losses["auto"], rel=0.02)


def test_objectives_that_do_not_fit_are_refused(train, t5_init, tmp_path):
    def error(stage, *settings):
        return train(stage, tmp_path / "run", "steps=1", *settings, code=1).stderr

    assert "prompt.to_qformer" in error(2, "objectives.cmlm=1", "prompt.to_qformer=false")
    assert "objectives.prefix_lm: prefix language modelling needs an encoder-decoder" in error(
        2, "objectives.prefix_lm=1")
    assert "objectives.words: the words objective needs a decoder-only language model" in error(
        2, f"init={t5_init}", "objectives.words=1")
    assert "language_weights: expected auto in stage 1" in error(1, "language_weights=int8")
    assert "objectives" in error(1, *only())
    assert "objectives.itm_every: expected a number in [1," in error(1, "objectives.itm_every=0")
    assert "in every step" in error(1, *only("itm"), "objectives.itm_every=2")

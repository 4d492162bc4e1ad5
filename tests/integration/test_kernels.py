"""The whole program on fewer instructions than the machine has: BLIP2_KERNELS."""

import json

import pytest

LOWER = ("avx512", "avx2", "plain")  # no more than the machine has


@pytest.mark.parametrize("kernels", LOWER)
def test_texts_are_the_same(run_json, stage2, pictures, kernels):
    images = sorted(pictures.glob("*.png"))[:3]
    for options in (["--beams", 1], ["--beams", 3, "--length-penalty", -1]):
        command = ["caption", "--model", stage2, "--precision", "f32", *options, "--min-new-tokens", 12,
                   "--max-new-tokens", 12, *images]
        usual, lower = run_json(*command), run_json(*command, env={"BLIP2_KERNELS": kernels})
        assert [line["tokens"] for line in lower] == [line["tokens"] for line in usual]
        assert all(len(line["tokens"]) == 12 for line in lower)
        for one, other in zip(usual, lower, strict=True):
            assert other["score"] == pytest.approx(one["score"], rel=1e-4)


@pytest.mark.parametrize("kernels", LOWER)
def test_half_precision_writes_texts(run_json, stage2, pictures, kernels):
    """Near the scores of f32: half the digits, the same sums."""
    image = sorted(pictures.glob("*.png"))[0]
    command = ["caption", "--model", stage2, "--beams", 1, "--min-new-tokens", 1, "--max-new-tokens", 1, image]
    [exact] = run_json(*command, "--precision", "f32")
    for precision in ("bf16", "f16"):
        [line] = run_json(*command, "--precision", precision, env={"BLIP2_KERNELS": kernels})
        assert line["score"] == pytest.approx(exact["score"], abs=0.1)


@pytest.mark.parametrize("kernels", LOWER)
@pytest.mark.parametrize("stage", [1, 2])
def test_steps_are_the_same(train, pictures, tmp_path, stage, kernels):
    logs = []
    for name, env in (("usual", {}), ("lower", {"BLIP2_KERNELS": kernels})):
        train(stage, tmp_path / name, "steps=3", "precision=f32", "dropout=0.1", "optimizer.lr=1e-3", env=env)
        logs.append([line for line in map(json.loads, (tmp_path / name / "log.jsonl").open()) if "loss" in line])
    assert len(logs[0]) == len(logs[1]) == 3
    for usual, lower in zip(*logs, strict=True):
        assert lower["loss"] == pytest.approx(usual["loss"], rel=1e-5)


def test_a_name_that_is_none_is_refused(run, stage2, pictures):
    done = run("caption", "--model", stage2, sorted(pictures.glob("*.png"))[0], code=1,
               env={"BLIP2_KERNELS": "avx3"})
    [line] = done.stderr.splitlines()
    assert "BLIP2_KERNELS" in line and "expected plain, avx2, avx512, avx512-bf16, amx, got avx3" in line

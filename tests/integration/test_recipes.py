"""Every recipe that comes with the program trains: at toy width, for two steps."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.toml")
                 if not path.stem.endswith("_model") and not path.stem.startswith("eval_"))


@pytest.fixture
def start(run, pictures, tmp_path):
    """start(recipe, init, *settings): the log of a run with the recipe's own objectives and prompts."""

    def call(recipe, init, *settings):
        data = "vqa" if "instruct" in recipe.stem or recipe.stem in ("masked_stage2", "finetune_vqa") else "my"
        chosen = [f"init={init}", f"data.train={pictures / data}.jsonl", "data.validation=[]", "data.weights=[]",
                  f"data.cache={pictures / 'features'}", "data.views=0", "steps=2", "batch_size=4", "log_every=1",
                  "schedule.warmup_steps=1", "checkpoint.every=2", *settings]
        flags = [word for setting in chosen for word in ("--set", setting)]
        run("train", recipe, *flags, "--output", tmp_path / "run")
        lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
        return [line for line in lines if "loss" in line]

    return call


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_runs(request, start, recipe):
    encoder_decoder, trains_encoder = "t5" in recipe.stem, recipe.stem.startswith("finetune")
    init = request.getfixturevalue("t5_init" if encoder_decoder else "vit_init" if trains_encoder else "init")
    lines = start(recipe, init, *(["image_encoder.image_size=42"] if trains_encoder else []))
    assert [line["step"] for line in lines] == [1, 2]
    if encoder_decoder:
        assert all(line["loss"] == line["prefix_lm"] for line in lines)
    if recipe.stem == "masked_stage1":
        assert all(len({"mlm", "mrm"} & set(line)) == 1 for line in lines)

"""recipes/eval_*.toml: each is read, options beat it, and what it sets counts."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").glob("eval_*.toml"))


def test_every_benchmark_has_one():
    assert {path.stem for path in RECIPES} == {
        "eval_coco_caption", "eval_nocaps", "eval_vqav2", "eval_okvqa", "eval_gqa", "eval_flickr30k",
        "eval_coco_retrieval"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_each_is_read(run, recipe, tmp_path):
    # Every option is accepted, so that the missing data are what is wrong.
    done = run("eval", "--recipe", recipe, "--model", tmp_path, "--data", "/no/such/data.jsonl", code=1)
    assert "/no/such/data.jsonl" in done.stderr or "config.json" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_options_and_variables_beat_it(run_json, run, stage2, pictures, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('task = "vqa"\nmax_new_tokens = 3\ntemplate = "Q: {} A:"\nbad_share = 0.5\n')
    common = ["eval", "--recipe", recipe, "--model", stage2]
    vqa = run_json(*common, "--data", pictures / "vqa.jsonl")[0]
    assert "accuracy" in vqa
    explicit = run_json("eval", "--task", "vqa", "--max-new-tokens", 3, "--template", "Q: {} A:", "--model", stage2,
                        "--data", pictures / "vqa.jsonl")[0]
    assert vqa == explicit
    assert "cider_d" in run_json(*common, "--task", "caption", "--data", pictures / "my.jsonl")[0]
    assert "cider_d" in run_json(*common, "--data", pictures / "my.jsonl", env={"BLIP2_TASK": "caption"})[0]


@pytest.mark.parametrize("text, said", [
    ('num_beams = 5', '"num_beams"'), ('task = ["vqa"]', 'one value for "task"'), ('task = ', 'r.toml'),
    ('recipe = "x"', '"recipe"')])
def test_bad_recipes_are_named(run, tmp_path, text, said):
    (tmp_path / "r.toml").write_text(text)
    done = run("eval", "--recipe", tmp_path / "r.toml", "--model", tmp_path, "--data", tmp_path, code=1)
    assert said in done.stderr and "r.toml" in done.stderr and len(done.stderr.splitlines()) == 1


def test_folds_are_the_mean_of_their_parts(run_json, stage1, pictures, tmp_path):
    lines = (pictures / "my.jsonl").read_text().splitlines()
    rows = [{**json.loads(line), "image": str(pictures / json.loads(line)["image"])} for line in lines]
    # One picture a caption, so that no caption stands in two halves.
    rows = [{**row, "caption": f"{row['caption']} number {i}"} for i, row in enumerate(rows)]
    half = len(rows) // 2
    files = {"all": rows, "first": rows[:half], "second": rows[half:]}
    for name, some in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    call = ["eval", "--task", "retrieval", "--model", stage1, "--rerank", 4, "--data"]
    every = run_json(*call, tmp_path / "all.jsonl", "--folds", 2)[0]
    parts = [run_json(*call, tmp_path / f"{name}.jsonl")[0] for name in ("first", "second")]
    assert every["in_folds"]["folds"] == 2 and "in_folds" not in parts[0]
    for kind in (lambda result: result, lambda result: result["itc_only"]):
        for way in ("image_to_text", "text_to_image"):
            for name, value in kind(every["in_folds"])[way].items():
                mean = sum(kind(part)[way][name] for part in parts) / 2
                assert value == pytest.approx(mean, abs=1e-12), (way, name)

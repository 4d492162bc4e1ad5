"""CLIPScore and RefCLIPScore of `score --clip` and `eval --clip`, as jmhessel/clipscore computes them on
transformers' vectors of the same CLIP."""

import json
import pathlib
import shutil
import sys

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
import clip_models  # noqa: E402

LIMIT = 1e-5
PROMPT = "A photo depicts "
CAPTIONS = ["a red circle", "a blue circle", "A green square!", "a black triangle", "it's 3.5 " + "words " * 60]
NAMES = ["red_circle_4.png", "blue_circle_4.png", "green_square_4.png", "black_triangle_4.png", "red_square_4.png"]
REFERENCES = [["a red circle", "the circle"], ["a blue circle"], ["green", "a square"], ["x"], ["a red square"] * 3]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip_score") / "clip"
    return folder, *clip_models.write_clip(folder)


@pytest.fixture
def put(tmp_path):
    def write(name, value):
        (tmp_path / name).write_text(json.dumps(value))
        return tmp_path / name

    return write


@pytest.fixture
def coco(put):
    """References as COCO's annotations, with NoCaps' domains, and results."""
    images = [{"id": i, "file_name": name, "domain": ("in-domain", "out-domain")[i % 2]}
              for i, name in enumerate(NAMES)]
    rows = [{"image_id": i, "caption": text} for i, texts in enumerate(REFERENCES) for text in texts]
    results = [{"image_id": i, "caption": text} for i, text in enumerate(CAPTIONS)]
    return put("r.json", results), put("a.json", {"images": images, "annotations": rows})


def expected(clip, pictures, captions=CAPTIONS, references=REFERENCES, names=NAMES):
    _, model, processor, tokenizer = clip
    texts = lambda some: clip_models.vectors_of_texts(model, tokenizer, [PROMPT + text for text in some])  # noqa: E731
    images = clip_models.vectors_of_images(
        model, processor, [Image.open(pictures / name).convert("RGB") for name in names])
    return clip_models.published_scores(images, texts(captions), [texts(some) for some in references])


def score(run_json, coco, clip, *more, **options):
    return run_json("score", "--task", "caption", "--results", coco[0], "--references", coco[1], "--clip", clip[0],
                    *more, **options)[0]


def test_scores_are_the_published_ones(run_json, clip, coco, pictures, tmp_path):
    per, both = expected(clip, pictures)
    assert (per > 0.1).sum() >= 2 and (both > 0.1).sum() >= 2 and (per == 0).any()  # a negative cosine too
    ours = score(run_json, coco, clip, "--images", pictures, "--scores", tmp_path / "each.jsonl")
    each = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert [row["clipscore"] for row in each] == pytest.approx(per.tolist(), abs=LIMIT)
    assert [row["refclipscore"] for row in each] == pytest.approx(both.tolist(), abs=LIMIT)
    assert ours["clipscore"] == pytest.approx(per.mean().item(), abs=LIMIT)
    assert ours["refclipscore"] == pytest.approx(both.mean().item(), abs=LIMIT)
    for name in ("clipscore", "refclipscore"):
        low, high = ours["intervals"][name]
        assert per.new_tensor([row[name] for row in each]).min() <= low <= ours[name] <= high
    inside = ours["by_kind"]["domain"]["in-domain"]
    assert inside["clipscore"] == pytest.approx(per[::2].mean().item(), abs=LIMIT) and inside["captions"] == 3
    without = run_json("score", "--task", "caption", "--results", coco[0], "--references", coco[1])[0]
    assert "clipscore" not in without and ours["cider"] == without["cider"] and "bad" not in ours


def test_data_that_name_their_pictures_need_no_folder(run_json, clip, coco, pictures, tmp_path):
    expected_scores = score(run_json, coco, clip, "--images", pictures)
    lines = [{"image": str(pictures / name), "captions": texts} for name, texts in zip(NAMES, REFERENCES)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    printed = [{"image": name, "text": text} for name, text in zip(NAMES, CAPTIONS)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in printed))
    ours = score(run_json, (tmp_path / "p.jsonl", tmp_path / "a.jsonl"), clip)
    assert ours["clipscore"] == expected_scores["clipscore"]
    # The references know numbers alone, the results name the pictures: what `caption --json` prints.
    (tmp_path / "n.json").write_text(json.dumps(
        {"annotations": [{"image_id": i, "caption": t} for i, texts in enumerate(REFERENCES) for t in texts]}))
    named = [{"image_id": i, "image": str(pictures / name), "text": text}
             for i, (name, text) in enumerate(zip(NAMES, CAPTIONS))]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in named))
    ours = score(run_json, (tmp_path / "m.jsonl", tmp_path / "n.json"), clip)
    assert ours["refclipscore"] == expected_scores["refclipscore"]


def test_karpathy_lists_and_comparison(run_json, clip, coco, pictures, put, tmp_path):
    (tmp_path / "all" / "val2014").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / "all" / "val2014" / name).symlink_to(pictures / name)
    karpathy = put("k.json", {"images": [
        {"cocoid": i, "filename": name, "filepath": "val2014", "split": "test", "sentences": [{"raw": t} for t in texts]}
        for i, (name, texts) in enumerate(zip(NAMES, REFERENCES))]})
    other = put("o.json", [{"image_id": i, "caption": "a"} for i in range(len(NAMES))])
    both = score(run_json, (coco[0], f"{karpathy}?split=test"), clip, "--images", tmp_path / "all", "--against", other)
    per, _ = expected(clip, pictures)
    theirs, _ = expected(clip, pictures, captions=["a"] * len(NAMES))
    assert both["results"]["clipscore"] == pytest.approx(per.mean().item(), abs=LIMIT)
    assert both["differences"]["clipscore"]["difference"] == pytest.approx(
        (per.mean() - theirs.mean()).item(), abs=2 * LIMIT)


def test_a_missing_picture_costs_only_itself(run, run_json, clip, coco, pictures, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    (tmp_path / "val").mkdir()
    for name in NAMES[1:]:
        (folder / name).symlink_to(pictures / name)
    (folder / NAMES[3]).unlink()
    (folder / NAMES[3]).write_bytes((pictures / NAMES[3]).read_bytes()[:100])
    base = ("score", "--task", "caption", "--results", coco[0], "--references", coco[1], "--clip", clip[0])
    call = (*base, "--images", folder, "--scores", tmp_path / "each.jsonl", "--json")
    done = run(*call, code=1)
    ours = json.loads(done.stdout)
    per, _ = expected(clip, pictures)
    assert ours["clipscore"] == pytest.approx(per[[1, 2, 4]].mean().item(), abs=LIMIT)
    assert ours["captions"] == 5 and ours["bad"] == 2
    low, high = ours["intervals"]["clipscore"]
    assert low <= ours["clipscore"] <= high
    rows = [json.loads(line)["clipscore"] for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert [row is None for row in rows] == [True, False, False, True, False]
    assert NAMES[0] in done.stderr and NAMES[3] in done.stderr and "2 of 5 are bad" in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith(("warning: ", "blip2: "))]) == 3
    assert json.loads(run(*call, "--bad-share", 0.4).stdout) == ours
    run(*call, "--bad-share", 0.3, code=1)
    none = run(*base, "--images", tmp_path / "val", code=1)
    assert "nothing is left to answer" in none.stderr and none.stdout == ""


def test_bad_calls_are_named(run, clip, coco, pictures, tmp_path):
    call = ("score", "--results", coco[0], "--references", coco[1])
    assert "expected the task caption" in run(*call, "--task", "vqa", "--clip", clip[0], code=2).stderr
    run(*call, "--task", "caption", "--clip", tmp_path / "none", code=2)
    done = run(*call, "--task", "caption", "--clip", pictures, "--images", pictures, code=1)
    assert "preprocessor_config.json" in done.stderr and len(done.stderr.splitlines()) == 1 and done.stdout == ""
    by_environment = run(*call, "--task", "caption", "--images", pictures, "--json", env={"BLIP2_CLIP": str(clip[0])})
    assert "clipscore" in json.loads(by_environment.stdout)


def changed_clip(clip, folder, change):
    shutil.copytree(clip[0], folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name, of", [("text_model.encoder.layers.0.mlp.fc1.weight", "a text"),
                                      ("vision_model.encoder.layers.0.mlp.fc1.weight", "a picture")])
def test_weights_that_are_no_numbers(run, clip, coco, pictures, tmp_path, name, of):
    damaged = changed_clip(clip, tmp_path / "clip", lambda tensors: tensors[name].fill_(float("nan")))
    done = run("score", "--task", "caption", "--results", coco[0], "--references", coco[1], "--clip", damaged,
               "--images", pictures, "--json", code=1)
    [line] = [line for line in done.stderr.splitlines() if line.startswith("blip2: ")]
    assert f"{damaged}: the vector of {of} is not finite" in line and not done.stdout


def test_a_wrong_end_token_is_found_first(run, clip, coco, tmp_path):
    shutil.copytree(clip[0], tmp_path / "clip")
    config = json.loads((tmp_path / "clip" / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 5
    (tmp_path / "clip" / "config.json").write_text(json.dumps(config))
    done = run("score", "--task", "caption", "--results", coco[0], "--references", tmp_path / "none.json", "--clip",
               tmp_path / "clip", code=1)
    assert "expected the token 5 that ends a text" in done.stderr and str(tmp_path / "clip") in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout


def test_eval_gives_the_same(run, run_json, stage2, clip, pictures, put, tmp_path):
    images = [{"id": i, "file_name": str(pictures / name), "domain": ("in-domain", "near-domain")[i % 2]}
              for i, name in enumerate(NAMES)]
    data = put("nocaps.json", {"images": images, "annotations": [
        {"image_id": i, "caption": text} for i, texts in enumerate(REFERENCES) for text in texts]})
    ours = run_json("eval", "--model", stage2, "--task", "caption", "--data", data, "--clip", clip[0], "--results",
                    tmp_path / "each.jsonl", "--max-new-tokens", 6)[0]
    each = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    per, both = expected(clip, pictures, captions=[row["text"] for row in each])
    assert [row["clipscore"] for row in each] == pytest.approx(per.tolist(), abs=LIMIT)
    assert [row["refclipscore"] for row in each] == pytest.approx(both.tolist(), abs=LIMIT)
    assert ours["clipscore"] == pytest.approx(per.mean().item(), abs=LIMIT)
    low, high = ours["refclipscore_interval"]
    assert low <= ours["refclipscore"] <= high
    # NoCaps' domains as `score` has them, of the texts that `eval` wrote.
    printed = tmp_path / "texts.jsonl"
    printed.write_text("".join(json.dumps({"image": row["image"], "text": row["text"]}) + "\n" for row in each))
    scored = run_json("score", "--task", "caption", "--results", printed, "--references", data, "--clip", clip[0])[0]
    domains = ours["by_kind"]["domain"]
    assert sorted(domains) == ["in-domain", "near-domain"] and domains["in-domain"]["captions"] == 3
    for domain, metrics in domains.items():
        theirs = scored["by_kind"]["domain"][domain]
        assert metrics["bleu"] == [theirs[f"bleu_{n}"] for n in (1, 2, 3, 4)]
        for name in ("cider", "cider_d", "rouge_l", "exact", "clipscore", "refclipscore"):
            assert metrics[name] == pytest.approx(theirs[name], abs=1e-12), name
    for row in each:
        assert row["domain"] == images[NAMES.index(row["image"].split("/")[-1])]["domain"]
    assert "--clip" in run("eval", "--model", stage2, "--task", "retrieval", "--data", data, "--clip", clip[0],
                           code=2).stderr

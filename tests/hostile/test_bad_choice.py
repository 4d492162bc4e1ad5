"""Bad input to `label` and to `caption --choose`: one clear error each, nothing half-written."""

import json
import os
import shutil

import pytest


@pytest.fixture
def picture(pictures):
    return sorted(pictures.glob("*.png"))[0]


@pytest.fixture
def names(tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\n")
    return "names.txt"


@pytest.fixture
def without(init, tmp_path):
    """without(key): the model as if it lacked that part."""

    def copy(key):
        shutil.copytree(init, tmp_path / "model", copy_function=os.symlink)
        config = json.loads((init / "config.json").read_text())
        config[key] = False
        if key == "text_config":
            del config[key]
        (tmp_path / "model" / "config.json").unlink()
        (tmp_path / "model" / "config.json").write_text(json.dumps(config))
        return "model"

    return copy


NAMES = {
    "empty": (b"", "empty file"),
    "mark_alone": (b"\xef\xbb\xbf", "empty file"),
    "blank": (b"a\n\nb\n", "bad.txt:2: expected a name, got a blank line"),
    "twice": (b"a\nb\na\n", "bad.txt:3: 'a' is there twice"),
    "utf16": ("a\nb\n".encode("utf-16"), "got UTF-16"),
    "latin": (b"\xe9t\xe9\n", "not UTF-8"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", [["label"], ["caption", "--choose", "match"]])
def test_names(refuse, init, picture, tmp_path, verb, name):
    content, expected = NAMES[name]
    (tmp_path / "bad.txt").write_bytes(content)
    refuse(["bad.txt", expected], *verb, "--model", init, "--names", "bad.txt", picture)


def test_a_mark_is_no_part_of_the_first_name(run_json, init, picture, tmp_path):
    for content in (b"a\r\nb\r\n", b"\xef\xbb\xbfa\nb"):
        (tmp_path / "names.txt").write_bytes(content)
        [line] = run_json("label", "--model", init, "--names", tmp_path / "names.txt", picture)
        assert {label["name"] for label in line["labels"]} == {"a", "b"}


def test_a_model_without_heads(refuse, without, names, picture):
    model = without("stage1_heads")
    refuse("no stage-1 heads", "label", "--model", model, "--names", names, picture)
    for candidates in (["--names", names], ["--candidates", 2]):
        refuse("no stage-1 heads", "caption", "--model", model, "--choose", "match", *candidates, picture)


def test_names_alone_need_no_language_model(refuse, run_json, without, names, picture, tmp_path):
    model = without("text_config")
    [line] = run_json("caption", "--model", tmp_path / model, "--choose", "match", "--names", tmp_path / names, picture)
    assert line["text"] in ("a", "b")
    refuse("no language model", "caption", "--model", model, "--choose", "match", "--candidates", 2, picture)


def test_options(refuse, init, picture, names):
    caption, label = ("caption", "--model", init), ("label", "--model", init, "--names", names)
    refuse("expected --candidates, --names, or both", *caption, "--choose", "match", picture, code=2)
    refuse("expected at least 4 beams", *caption, "--choose", "match", "--candidates", 4, "--beams", 2, picture, code=2)
    refuse("expected {} for the name, got 'a photo'", *label, "--template", "a photo", picture)
    refuse("no_names.txt", "label", "--model", init, "--names", "no_names.txt", picture)
    refuse("at least one picture", *label, code=2)
    for wrong in ("0", "-3", "x", "2000"):
        refuse("--candidates", *caption, "--choose", "match", f"--candidates={wrong}", picture, code=2)
    refuse("--choose", *caption, "--choose", "best", picture, code=2)
    for alone in (["--candidates", 3], ["--names", names], ["--min-probability", 0.5], ["--rerank", 4]):
        refuse("--choose", *caption, *alone, picture, code=2)
    refuse("--return-sequences", *caption, "--choose", "match", "--candidates", 2, "--return-sequences", 2, picture,
           code=2)
    refuse("--top", *label, "--top", 0, picture, code=2)
    refuse("--names", "label", "--model", init, picture, code=2)
    for wrong in ("-0.1", "1.5", "nan"):
        refuse("--min-probability", *caption, "--choose", "match", "--names", names, f"--min-probability={wrong}",
               picture, code=2)


def test_eval_options(refuse, init, pictures, names):
    command = ("eval", "--model", init, "--data", pictures / "val.jsonl")
    refuse("expected the task caption", *command, "--task", "retrieval", "--choose", "match", "--names", names, code=2)
    refuse("--results", *command, "--task", "retrieval", "--results", "r.jsonl", code=2)

"""A conversion that fails, or that meets what an earlier one left: no half of a file under its name, nothing of the
old model in the new one."""

import errno
import json
import pathlib
import shutil
import subprocess

import pytest
from conftest import ROOT
from mini_model import write_parts
from safetensors import safe_open

TEMPORARY = "model-vision.safetensors.tmp123_0"


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(run, init, tmp_path_factory):
    """A copy of the model whose files are no links."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    shutil.copytree(init, folder)
    return folder


def test_a_disk_that_fills_while_parts_are_copied(program, run, whole, failing_disk, tmp_path):
    """Across file systems, where parts are copied: whatever write fails, nothing is left."""
    command = [program, "convert", whole, "OUT", "--own-layout"]

    def convert(out, **fault):
        command[3] = out
        environment = failing_disk(f"{out.name}/model-", no_links=1, count=tmp_path / "count", **fault)
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert convert(tmp_path / "good").returncode == 0
    expected = files_of(tmp_path / "good")
    assert not (tmp_path / "good" / "model-vision.safetensors").samefile(whole / "model-vision.safetensors")
    calls = int((tmp_path / "count").read_text())
    assert calls > 10
    for call in sorted({1, 2, 3, calls // 2, calls - 3}):
        out = tmp_path / f"at{call}"
        done = convert(out, at=call, errno=errno.ENOSPC)
        assert done.returncode == 1 and "No space left on device" in done.stderr, (call, done.stderr)
        assert not out.exists(), call
        run("convert", whole, out, "--own-layout")
        assert files_of(out) == expected, call


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return write_parts(folder, ROOT / ".cache" / "models" / "efficientnet-lite0.pth")


def change_part(parts, key, value):
    lines = [f'{key} = "{value}"' if line.startswith(key) else line for line in parts.read_text().splitlines()]
    changed = parts.with_name(f"{key}.toml")
    changed.write_text("\n".join(lines))
    return changed


@pytest.mark.parametrize("key", ["image_encoder", "language_model", "text_encoder"])
def test_an_assembly_that_fails_leaves_nothing(run, parts, tmp_path, key):
    """Whatever part is not there, or is a part of another kind; also of the folders above the new one."""
    broken = change_part(parts, key, tmp_path / "nothing")
    for out in (tmp_path / "out", tmp_path / "one" / "two" / "out"):
        assert len(run("convert", broken, out, code=1).stderr.splitlines()) == 1
    broken = change_part(parts, key, parts)  # a file that is no model
    run("convert", broken, tmp_path / "one" / "out", code=1)
    assert not list(tmp_path.iterdir())


def test_a_last_step_that_fails_takes_the_model_with_it(run, parts, whole, tmp_path):
    """The parts are written when the encoder turns out to be none whose weights are quantised."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("stays")
    (tmp_path / "mine" / "qformer_tokenizer").mkdir()
    for source in (parts, whole):
        for out in (tmp_path / "above" / "out", tmp_path / "mine"):
            said = run("convert", source, out, "--vision-weights", "q8_0", code=1).stderr
            assert "is no vision transformer" in said
            assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == [
                pathlib.Path(path) for path in ("mine", "mine/notes.txt", "mine/qformer_tokenizer")]


def test_quantising_copies_no_language_model_first(program, whole, failing_disk, tmp_path):
    environment = failing_disk("small/model-language.safetensors", no_links=1, count=tmp_path / "count")
    command = [program, "convert", whole, tmp_path / "small", "--weights", "q8_0"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert int((tmp_path / "count").read_text()) == 0
    assert (tmp_path / "small" / "model-language.gguf").exists()
    index = json.loads((tmp_path / "small" / "model.safetensors.index.json").read_text())
    assert not any(name.startswith("language_model.") for name in index["weight_map"])


def test_what_an_earlier_conversion_left_is_gone(run, run_json, whole, pictures, tmp_path):
    """Weights without a configuration, of any layout, and temporary files; what is not ours stays."""
    out = tmp_path / "out"
    out.mkdir()
    left = ["model.safetensors", "model.safetensors.index.json", "model-language.gguf", TEMPORARY]
    for name in (*left, "notes.txt", "mine.tmp"):
        (out / name).write_text("left over")
    run("convert", whole, out, "--own-layout")
    assert (out / "notes.txt").read_text() == (out / "mine.tmp").read_text() == "left over"
    assert not (out / TEMPORARY).exists() and not (out / "model.safetensors").exists()
    shutil.copytree(whole, tmp_path / "source")
    (tmp_path / "source" / TEMPORARY).write_text("left over")
    run("convert", tmp_path / "source", tmp_path / "clean", "--own-layout")
    assert files_of(tmp_path / "clean").keys() == files_of(out).keys() - {
        path for path in files_of(out) if path.name in ("notes.txt", "mine.tmp")}
    image = sorted(pictures.glob("*.png"))[0]
    assert run_json("caption", "--model", out, image) == run_json("caption", "--model", whole, image)


def test_a_folder_stage1_is_not_taken_for_the_new_models(run, whole, tmp_path):
    (tmp_path / "out" / "stage1").mkdir(parents=True)
    (tmp_path / "out" / "stage1" / "config.json").write_text("{}")
    done = run("convert", whole, tmp_path / "out", code=1)
    assert "out/stage1" in done.stderr and len(done.stderr.splitlines()) == 1
    assert files_of(tmp_path / "out").keys() == {next((tmp_path / "out").rglob("*.json")).relative_to(tmp_path / "out")}


def test_files_with_other_names_stay_as_they_are(run, whole, tmp_path):
    """What the new folder's files are replaced by is new: nothing is written through a hard link."""
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir(), other.mkdir()
    for name in ("generation_config.json", "preprocessor_config.json", "tokenizer.json"):
        (other / name).write_text("another model's")
        (out / name).hardlink_to(other / name)
    run("convert", whole, out, "--own-layout")
    assert all(path.read_text() == "another model's" for path in other.iterdir())
    assert json.loads((out / "generation_config.json").read_text()) == json.loads(
        (whole / "generation_config.json").read_text())
    with safe_open(out / "model-bridge.safetensors", "pt") as file:
        assert "query_tokens" in file.keys()


def test_what_is_written_has_a_name(run, whole, pictures, tmp_path):
    calls = [("convert", whole, ""), ("train", tmp_path / "r.toml", "--output", ""),
             ("embed", "--model", whole, "--output", "", pictures / "red_circle_4.png"),
             ("capfilt", "--model", whole, "--data", pictures, "--output", "")]
    for call in calls:
        assert "expected a name, got an empty one" in run(*call, code=2).stderr


def test_files_are_asked_for_before_the_work(run, stage2, pictures, tmp_path):
    """A folder that is not there, or that is a file's name, is found before anything else is looked at."""
    nowhere = tmp_path / "none" / "out"
    missing = tmp_path / "missing.json"
    calls = [
        ("score", "--task", "caption", "--results", missing, "--references", missing, "--scores", nowhere),
        ("score", "--task", "caption", "--results", missing, "--references", missing, "--report", nowhere),
        ("eval", "--model", stage2, "--task", "caption", "--data", missing, "--results", nowhere),
        ("eval", "--model", stage2, "--task", "retrieval", "--data", missing, "--report", nowhere),
        ("embed", "--model", missing, "--output", nowhere, pictures / "red_circle_4.png")]
    for call in calls:
        done = run(*call, code=1)
        assert f"{nowhere}: there is no folder {nowhere.parent}" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1 and not done.stdout
    (tmp_path / "folder").mkdir()
    done = run("score", "--task", "caption", "--results", missing, "--references", missing, "--scores",
               tmp_path / "folder", code=1)
    assert "it is a folder" in done.stderr
    data = pictures / "vqa.jsonl"
    done = run("vqa", "--model", stage2, "--questions-from", data, "--vqa-results", nowhere, code=1)
    assert "there is no folder" in done.stderr and not done.stdout


def test_contradictions_are_wrong_usage(run, init, pictures, tmp_path):
    image = pictures / "red_circle_4.png"
    caption = ("caption", "--model", init)
    assert "return_sequences" in run(*caption, "--beams", 2, "--num-return-sequences", 3, image, code=2).stderr
    assert "return_sequences" in run(*caption, "--num-return-sequences", 9, image, code=2).stderr
    assert "return_sequences" in run("chat", "--model", init, "--num-return-sequences", 2, image, code=2).stderr
    run(*caption, "--sample", "--num-return-sequences", 3, "--max-new-tokens", 2, image)
    assert "IMAGE" in run(*caption, code=2).stderr
    assert "--question" in run("vqa", "--model", init, image, code=2).stderr
    assert "--texts" in run("embed", "--model", init, "--output", tmp_path / "o", code=2).stderr
    assert "--text" in run("tokenize", "--model", init, code=2).stderr
    data = pictures / "vqa.jsonl"
    assert "--clip" in run("eval", "--model", init, "--task", "vqa", "--data", data, "--clip", tmp_path, code=2).stderr


def test_the_models_file_is_not_the_users_mistake(run, whole, pictures, tmp_path):
    shutil.copytree(whole, tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_beams": 2}))
    image = pictures / "red_circle_4.png"
    run("caption", "--model", tmp_path / "model", "--num-return-sequences", 3, image, code=1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_beams": 4}))
    lines = run("caption", "--model", tmp_path / "model", "--num-return-sequences", 3, image).stdout.splitlines()
    assert len(lines) == 3

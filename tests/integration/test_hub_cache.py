"""Models named as on the Hugging Face Hub, in the cache that its own tools read."""

import json
import os

import huggingface_hub
import pytest
from conftest import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path):
    """A cache that has one model, as the Hub's tools lay it: links to blobs, and a branch."""
    folder = tmp_path / "hub"
    repository = folder / "models--some-org--tiny.model"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    return folder


def add_files(cache, model):
    repository = cache / "models--some-org--tiny.model"
    snapshot = repository / "snapshots" / COMMIT
    for file in (path for path in model.rglob("*") if path.is_file()):
        blob, link = repository / "blobs" / f"{len(os.listdir(repository / 'blobs'))}", snapshot / file.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_the_same_folder_as_the_hubs_own_tools(run, cache, init):
    snapshot, env = add_files(cache, init), {"HF_HUB_CACHE": str(cache)}
    for revision in ("main", COMMIT):
        theirs = huggingface_hub.snapshot_download("some-org/tiny.model", revision=revision, cache_dir=cache,
                                                   local_files_only=True)
        assert theirs == str(snapshot)
        found = run("inspect", f"some-org/tiny.model@{revision}", "--json", env=env).stdout
        assert json.loads(found) == json.loads(run("inspect", snapshot, "--json").stdout)
    words = run("tokenize", "--model", "some-org/tiny.model", "--text", "a dog", "--json", env=env).stdout
    assert words == run("tokenize", "--model", init, "--text", "a dog", "--json").stdout


def test_parts_and_the_start_of_a_run(run, cache, init, tmp_path):
    add_files(cache, init)
    env = {"HF_HOME": str(cache.parent)}  # whose hub/ it is
    run("convert", "some-org/tiny.model", tmp_path / "copy", env=env)
    recipe = (ROOT / "recipes" / "tiny_stage1.toml").read_text()
    (tmp_path / "run.toml").write_text(recipe)
    missing = run("train", tmp_path / "run.toml", "--set", "init=some-org/other", "--output", tmp_path / "run",
                  "--dry-run", code=1, env=env)
    assert "hf download some-org/other" in missing.stderr
    lines = (ROOT / "recipes" / "tiny_model.toml").read_text().splitlines()
    (tmp_path / "parts.toml").write_text("\n".join(
        'language_model = "some-org/other"' if line.startswith("language_model") else line for line in lines))
    missing = run("convert", tmp_path / "parts.toml", tmp_path / "assembled", code=1, env=env)
    assert "hf download some-org/other" in missing.stderr and not (tmp_path / "assembled").exists()


@pytest.mark.parametrize("name, hint", [
    ("some-org/none", "hf download some-org/none fetches it into"),
    ("some-org/tiny.model@v2", "hf download some-org/tiny.model --revision v2 fetches it into")])
def test_what_is_not_there_is_named_with_the_command_that_fetches_it(run, cache, name, hint):
    done = run("caption", "--model", name, "a.png", code=1, env={"HF_HUB_CACHE": str(cache)})
    assert len(done.stderr.splitlines()) == 1 and hint in done.stderr and str(cache) in done.stderr

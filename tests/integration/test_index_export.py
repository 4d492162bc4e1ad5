"""`blip2 index INDEX --export`: arrays and lines that NumPy and other programs read."""

import json
import subprocess

import numpy
import pytest

PICTURES, Q, E = 150, 8, 64


@pytest.fixture(scope="module")
def index(program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    names = [b"/p/no\xffutf8.png", b"/p/line\nbreak \"q\".png"]
    (folder / "names").write_bytes(b"".join(name + b"\0" for name in names))
    for args in (["make", folder / "index", "1", "0", str(PICTURES), str(Q), str(E), folder / "names"],
                 ["caption", folder / "index", "4", "two\nlines"], ["remove", folder / "index", "20", "10"]):
        subprocess.run([program.parent / "probe" / "postgres", *args], check=True, capture_output=True)
    return folder / "index"


def test_arrays_and_lines(run, index, tmp_path):
    folder = tmp_path / "out"
    run("index", index, "--no-update", "--export", folder, "--export-all-vectors")
    means = numpy.load(folder / "img_emb" / "img_emb_0.npy")
    vectors = numpy.load(folder / "img_queries" / "img_queries_0.npy")
    lines = [json.loads(line) for line in (folder / "metadata" / "metadata_0.jsonl").read_text().splitlines()]
    assert means.shape == (PICTURES - 10, E) and means.dtype == numpy.float32
    assert vectors.shape == (PICTURES - 10, Q, E) and vectors.dtype == numpy.float16
    numpy.testing.assert_allclose(numpy.linalg.norm(means, axis=1), 1, atol=1e-6)
    numpy.testing.assert_allclose(numpy.linalg.norm(vectors.astype("f4"), axis=2), 1, atol=0.03)
    sums = vectors.astype("f4").sum(1)
    numpy.testing.assert_allclose(means, sums / numpy.linalg.norm(sums, axis=1, keepdims=True), atol=2e-3)
    assert len(lines) == PICTURES - 10
    assert lines[1]["image_path"] == "/p/line\nbreak \"q\".png" and lines[0]["image_path"] == "/p/no\ufffdutf8.png"
    assert lines[4]["caption"] == "two\nlines" and lines[4]["paths"] == [lines[4]["image_path"]]
    assert lines[3]["taken"] == 1500000003 and lines[4]["taken"] is None
    assert lines[20]["image_path"].endswith("/0000030.png") and lines[20]["width"] == 100 + 30 % 7


def test_one_vector_a_picture_alone(run, index, tmp_path):
    run("index", index, "--no-update", "--export", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["img_emb", "metadata"]


def test_folders_that_hold_files_are_left_alone(run, index, tmp_path):
    (tmp_path / "mine").write_text("x")
    assert "expected an empty folder or none" in run("index", index, "--no-update", "--export", tmp_path, code=2).stderr
    assert (tmp_path / "mine").read_text() == "x" and len(list(tmp_path.iterdir())) == 1


def test_wrong_usage(run, index, tmp_path):
    assert "expected --to or --export" in run("index", index, "--no-update", code=2).stderr
    assert "--schema requires --to" in run("index", index, "--schema", "x", code=2).stderr
    assert "--export-all-vectors requires --export" in run("index", index, "--export-all-vectors", code=2).stderr
    failed = run("index", index, "--no-update", "--to", "postgresql://u:se@cret@h/d", code=1)
    assert "URL of Postgres: cannot be read" in failed.stderr and "cret" not in failed.stderr
    assert "there is no index" in run("index", tmp_path / "none", "--no-update", "--export", tmp_path / "o",
                                      code=1).stderr

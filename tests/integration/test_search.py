"""`blip2 search` on an index of drawn shapes: what it finds is what the model's vectors say; what fits; every option."""

import html.parser
import json
import math
import pathlib
import shutil

import numpy
import pytest
from PIL import Image
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def photos(pictures, tmp_path_factory):
    """The drawn shapes in two folders; one has another file of the same content."""
    folder = tmp_path_factory.mktemp("photos")
    for i, path in enumerate(sorted(pictures.glob("*.png"))):
        target = folder / ("a" if i % 2 else "b") / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(next((folder / "a").glob("*.png")), folder / "b" / "copy 'of\" one.png")
    return folder


@pytest.fixture(scope="module")
def index(run, stage1, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "six"
    run("index", folder, photos, "--model", stage1)
    return folder


@pytest.fixture(scope="module")
def vectors(run, stage1, photos, tmp_path_factory):
    """Unit vectors by `embed`: of the pictures by path [Q, E], and a function for texts."""
    folder = tmp_path_factory.mktemp("vectors")
    paths = sorted(photos.rglob("*.png"))
    run("embed", "--model", stage1, "--output", folder / "images", *paths)
    images = dict(zip(map(str, paths), load_file(folder / "images")["image_embeds"]))

    def text(words):
        (folder / "texts").write_text(words + "\n")
        run("embed", "--model", stage1, "--texts", folder / "texts", "--output", folder / "out")
        return load_file(folder / "out")["text_embeds"][0]

    return images, text


@pytest.fixture(scope="module")
def search(run_json, index):
    return lambda *words, **options: run_json("search", index, *words, **options)


def test_the_order_is_that_of_the_model_s_vectors(search, vectors):
    images, text = vectors
    query = text("a red circle")
    expected = {path: float((vectors @ query).max()) for path, vectors in images.items()}
    hits = search("a red circle", "--top", 100, "--min-score", 0)
    assert {hit["path"] for hit in hits} <= set(images) and len(hits) == len(images) - 1  # one has two files
    for hit in hits:
        assert hit["itc"] == pytest.approx(expected[hit["path"]], abs=0.02) and hit["itm"] is None
    scores = [hit["itc"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert hits == search("a red circle", "--top", 100, "--min-score", 0, "--exact")
    assert search("a red circle", "--top", 3, "--min-score", 0) == hits[:3]
    [twice] = [hit for hit in hits if "paths" in hit]
    assert len(twice["paths"]) == 2 and twice["path"] == twice["paths"][0]


def test_a_picture_finds_itself_and_what_is_like_it(search, vectors, tmp_path):
    images, _ = vectors
    path = next(iter(images))
    hits = search(path, "--top", 100)
    assert hits[0]["itc"] == pytest.approx(1, abs=0.03)
    for hit in hits:
        cosines = (images[path] * images[hit["path"]]).sum(1)
        assert hit["itc"] == pytest.approx(float(cosines.mean()), abs=0.02)
    shutil.copy(path, tmp_path / "elsewhere.png")
    assert search(tmp_path / "elsewhere.png", "--top", 100) == hits
    Image.open(path).save(tmp_path / "other.png", compress_level=0)  # another file, the same pixels
    other = search(tmp_path / "other.png", "--top", 100)
    assert [hit["itc"] for hit in other] == pytest.approx([hit["itc"] for hit in hits], abs=0.02)


def test_terms_have_weights_and_signs(search, vectors):
    images, text = vectors
    circle, red, path = text("a circle"), text("red"), next(iter(images))
    hits = search("2*a circle", "-red", path, "--top", 100)
    for hit in hits:
        own = images[hit["path"]]
        parts = [(own @ circle).max(), (own * images[path]).sum(1).mean(), (own @ red).max()]  # minus signs last
        assert hit["itc"] == pytest.approx([float(part) for part in parts], abs=0.02)
        assert hit["score"] == pytest.approx(2 * hit["itc"][0] + hit["itc"][1] - hit["itc"][2], abs=1e-5)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert search("a circle", "-house", "--top", 5) == search("--top", 5, "a circle", "-house")


def test_probabilities_are_measured_once_and_kept(run, index, search, stage1):
    first = run("search", index, "a red circle", "--top", "100", "--json", "--min-score", "0.0001")
    again = run("search", index, "a red circle", "--top", "100", "--json", "--min-score", "0.0001")
    assert "measuring what fits" not in again.stderr and first.stdout == again.stdout
    scores = [json.loads(line)["score"] for line in first.stdout.splitlines()]
    assert all(0 <= score <= 1 for score in scores)
    some = run("search", index, "a red circle", "--top", "100", "--json", "--min-score", "0.6").stdout.splitlines()
    assert all(json.loads(line)["score"] >= 0.6 for line in some)


def test_nothing_fits_is_said(run, index):
    done = run("search", index, "a red circle", "--min-score", "1.0")
    assert done.stdout == "" and 'nothing fits "a red circle"' in done.stderr
    done = run("search", index, "a circle", "-red", "--min-score", "50")
    assert done.stdout == "" and "nothing fits" in done.stderr


def test_matching_orders_the_first(search, run_json, stage1):
    plain = search("a red circle", "--top", 8, "--min-score", 0)
    ranked = search("a red circle", "--top", 8, "--min-score", 0, "--rerank", 5)
    assert {hit["path"] for hit in ranked} == {hit["path"] for hit in plain}
    assert ranked[5:] == plain[5:] and all(hit["itm"] is not None for hit in ranked[:5])
    by_match = {line["image"]: line for line in run_json(
        "match", "--model", stage1, "--text", "a red circle", *(hit["path"] for hit in ranked[:5]))}
    for hit in ranked[:5]:
        assert hit["itm"] == pytest.approx(by_match[hit["path"]]["itm"], abs=1e-4)
    logits = [math.log(hit["itm"] / (1 - hit["itm"])) for hit in ranked[:5]]
    assert len(logits) == 5


def test_a_picture_that_is_gone_is_named_and_stays_found(run, run_json, stage1, photos, tmp_path):
    shutil.copytree(photos / "a", tmp_path / "a")
    run("index", tmp_path / "index", tmp_path / "a", "--model", stage1)
    hits = run_json("search", tmp_path / "index", "a red circle", "--min-score", 0, "--top", 4)
    pathlib.Path(hits[0]["path"]).unlink()
    done = run("search", tmp_path / "index", "a red circle", "--min-score", "0", "--top", "4", "--rerank", "3", "--json",
               "--html", tmp_path / "page.html")
    assert hits[0]["path"] in done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {hit["path"] for hit in found} == {hit["path"] for hit in hits}
    assert [hit["path"] for hit in found if hit["itm"] is None] == [hits[0]["path"], hits[3]["path"]]


def test_filters(search, photos, run, run_json, stage1, tmp_path):
    hits = search("a circle", "--top", 100, "--min-score", 0, "--folder", photos / "b")
    assert hits and all(hit["path"].startswith(str(photos / "b")) for hit in hits)
    assert search("a circle", "--top", 100, "--min-score", 0, "--larger", 65) == []
    assert len(search("a circle", "--top", 100, "--min-score", 0, "--larger", "64x64")) == len(
        search("a circle", "--top", 100, "--min-score", 0))
    for number, (date, camera) in enumerate([("2024:05:17 10:00:00", "Canon"), ("2024:05:18 00:00:00", "Nikon")]):
        exif = Image.Exif()
        exif[0x010F] = camera
        exif.get_ifd(0x8769)[0x9003] = date
        noise = numpy.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=numpy.uint8)
        (tmp_path / "dated").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "dated" / f"{number}.jpg", exif=exif)
    run("index", tmp_path / "index", tmp_path / "dated", "--model", stage1)

    def names(*options):
        found = run_json("search", tmp_path / "index", "noise", "--min-score", 0, *options)
        return sorted(pathlib.Path(hit["path"]).name for hit in found)

    assert names() == ["0.jpg", "1.jpg"]
    assert names("--before", "2024-05-17") == ["0.jpg"] and names("--after", "2024-05-18") == ["1.jpg"]
    assert names("--after", "2024-05", "--before", "2024") == ["0.jpg", "1.jpg"] and names("--after", "2025") == []
    assert names("--camera", "nik") == ["1.jpg"]


def test_many_queries(run, run_json, index, search, tmp_path):
    queries = ["a red circle", "a blue square", "text:-a dash"]
    (tmp_path / "queries").write_text("\n".join(queries) + "\n")
    lines = run_json("search", index, "--queries", tmp_path / "queries", "--top", 2, "--min-score", 0)
    assert [line.pop("query") for line in lines] == [query for query in queries for _ in range(2)]
    assert lines[:2] == search("a red circle", "--top", 2, "--min-score", 0)


def test_names_cannot_harm_a_terminal_or_a_page(run, run_json, stage1, photos, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    one = next((photos / "a").glob("*.png"))
    name = "<b>\x1b[31m\n'\"&.png"
    shutil.copy(one, odd / name)
    shutil.copy(next((photos / "b").glob("blue*.png")), odd / "plain.png")
    run("index", tmp_path / "index", odd, "--model", stage1)
    page = tmp_path / "page.html"
    done = run("search", tmp_path / "index", "a circle", "--min-score", "0", "--html", page)
    assert len(done.stdout.splitlines()) == 2 and "\x1b" not in done.stdout
    assert len(run("search", tmp_path / "index", "a circle", "--min-score", "0", "--paths-only").stdout.splitlines()) == 2
    assert str(odd / name) in [hit["path"] for hit in
                               run_json("search", tmp_path / "index", "a circle", "--min-score", 0)]

    class Tags(html.parser.HTMLParser):
        images, bold = [], 0

        def handle_starttag(self, tag, attributes):
            if tag == "img":
                self.images.append(dict(attributes)["src"])
            self.bold += tag == "b"

    tags = Tags()
    tags.feed(page.read_text())
    assert len(tags.images) == 2 and tags.bold == 0
    assert all(source.startswith("data:image/png;base64,") for source in tags.images)


def test_thumbnails_where_asked(run, index):
    plain = run("search", index, "a circle", "--min-score", "0", "--top", "1").stdout
    shown = run("search", index, "a circle", "--min-score", "0", "--top", "1", "--thumbnails", "always").stdout
    assert "\x1b_G" not in plain and shown.startswith(plain) and shown.count("\x1b_Gf=100,a=T") == 1


@pytest.mark.parametrize("words, code, said", [
    (["--tpo", "3", "dog"], 2, "--tpo"), ([], 2, "expected terms"), (["dog", "--after", "yesterday"], 2, "2024-05-17"),
    (["dog", "--larger", "big"], 2, "pixels"), ([""], 1, "expected words"), (["0*dog"], 1, "above 0"),
    (["image:nowhere.png"], 1, "nowhere.png"), (["dog", "--top", "0"], 2, "--top"),
    (["dog", "--html", "/nowhere/page.html"], 1, "/nowhere")])
def test_what_cannot_be_is_refused(run, index, words, code, said):
    done = run("search", index, *words, code=code)
    assert said in done.stderr and done.stdout == ""


def test_another_model_and_no_index(run, index, stage2, real_init, tmp_path):
    assert "another model" in run("search", index, "dog", "--model", real_init, code=1).stderr
    assert "no index" in run("search", tmp_path, "dog", code=1).stderr


def test_an_empty_index_finds_nothing(run, stage1, tmp_path):
    (tmp_path / "empty").mkdir()
    run("index", tmp_path / "index", tmp_path / "empty", "--model", stage1)
    done = run("search", tmp_path / "index", "dog")
    assert done.stdout == "" and "no pictures" in done.stderr

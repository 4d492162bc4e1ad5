"""One bad picture or record costs only itself, in every verb that takes many."""

import json
import math
import shutil

import numpy
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file


@pytest.fixture(scope="session")
def mixed(pictures, tmp_path_factory):
    """good.png, cut.png (cut off), c.png, and a name that is not there."""
    folder = tmp_path_factory.mktemp("mixed")
    first, second = sorted(pictures.glob("*.png"))[:2]
    shutil.copy(first, folder / "good.png")
    shutil.copy(second, folder / "c.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:100])
    return [folder / name for name in ("good.png", "cut.png", "c.png", "missing.png")]


def lines_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


VERBS = {"caption": ("--beams", 2, "--max-new-tokens", 5),
         "vqa": ("--beams", 2, "--max-new-tokens", 5, "--question", "what is it?"),
         "match": ("--text", "a red circle")}


@pytest.mark.parametrize("verb", VERBS)
def test_good_pictures_are_answered(run, stage2, mixed, verb):
    call = (verb, "--model", stage2, *VERBS[verb])
    done = run(*call, "--json", *mixed, code=1)
    lines = lines_of(done)
    assert [line["image"] for line in lines] == [str(path) for path in mixed]
    assert [sorted(line) == ["error", "image"] for line in lines] == [False, True, False, True]
    assert "cut.png" in lines[1]["error"] and "missing.png" in lines[3]["error"]
    # The others are answered as they are alone.
    assert [lines[0], lines[2]] == [lines_of(run(*call, "--json", path))[0] for path in mixed[::2]]
    errors = [line for line in done.stderr.splitlines() if line.startswith("blip2: ")]
    assert errors == ["blip2: 2 of 4 are bad, see above; the others are answered; --bad-share bears some"]
    plain = run(*call, *mixed, code=1)
    assert len(plain.stdout.splitlines()) == 2
    assert all(sum(str(path) in line for line in plain.stderr.splitlines()) == 1 for path in mixed[1::2])


@pytest.mark.parametrize("verb", VERBS)
def test_the_share_that_is_borne(run, stage2, mixed, verb):
    call = (verb, "--model", stage2, *VERBS[verb], "--json", *mixed)
    assert len(lines_of(run(*call, "--bad-share", 0.5))) == 4
    done = run(*call, "--bad-share", 0.4, code=1)
    assert len(lines_of(done)) == 4 and "more than 40 %" in done.stderr
    run(*call, "--bad-share", 1.5, code=2)
    none = run(*call[:-4], mixed[1], "--bad-share", 1, code=1)
    assert "nothing is left to answer" in none.stderr and len(lines_of(none)) == 1


def test_questions_from_a_list(run, stage2, mixed, tmp_path):
    records = [{"image": str(mixed[0]), "question": "what is it?"}, {"image": str(mixed[1]), "question": "what?"},
               {"image": str(mixed[0]), "question": " "}, {"image": str(mixed[2]), "caption": "a"},
               {"image": str(mixed[2]), "question": "what color is it?"}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    call = ("vqa", "--model", stage2, "--max-new-tokens", 3, "--json", "--questions-from", tmp_path / "q.jsonl")
    lines = lines_of(run(*call, code=1))
    assert ["error" in line for line in lines] == [False, True, True, True, False]
    assert "q.jsonl:3" in lines[2]["error"] and lines[2]["image"] is None
    assert "expected a question" in lines[3]["error"]
    assert lines_of(run(*call, "--bad-share", 0.6)) == lines


@pytest.mark.parametrize("mode", ["vectors", "image", "multimodal"])
def test_embed_leaves_rows_out(run, stage2, mixed, tmp_path, mode):
    texts = [f"text {i}" for i in range(4)]
    (tmp_path / "t.txt").write_text("".join(f"{text}\n" for text in texts))
    pairs = ("--texts", tmp_path / "t.txt") if mode == "multimodal" else ()

    def embed(name, *words, code=0):
        run("embed", "--model", stage2, "--mode", mode, "--output", tmp_path / name, *words, code=code)

    embed("all.safetensors", *pairs, *mixed, code=1)
    good = tmp_path / "good.txt"
    good.write_text("text 0\ntext 2\n")
    embed("good.safetensors", *(("--texts", good) if pairs else ()), *mixed[::2])
    got, wanted = load_file(tmp_path / "all.safetensors"), load_file(tmp_path / "good.safetensors")
    assert set(got) == set(wanted)
    assert all(numpy.array_equal(got[name], wanted[name]) for name in got)
    with safe_open(tmp_path / "all.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["images"]) == [str(path) for path in mixed[::2]]
        assert not pairs or json.loads(file.metadata()["texts"]) == ["text 0", "text 2"]
    embed("borne.safetensors", *pairs, *mixed, "--bad-share", 0.5)
    embed("no.safetensors", *pairs, *mixed, "--bad-share", 0.4, code=1)
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize("task", ["caption", "retrieval"])
def test_eval_of_a_coco_list(run, stage2, pictures, mixed, tmp_path, task):
    """With a picture without caption and one that cannot be read; measured as the others alone."""
    names = sorted(pictures.glob("*.png"))[:5]
    for name in names:
        shutil.copy(name, tmp_path)
    (tmp_path / names[1].name).write_bytes(mixed[1].read_bytes())
    images = [{"id": i, "file_name": name.name} for i, name in enumerate(names)]
    annotations = [{"image_id": i, "caption": f"caption {i}"} for i in range(4)]

    def write(name, kept):
        content = {"images": [image for image in images if image["id"] in kept],
                   "annotations": [note for note in annotations if note["image_id"] in kept]}
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    call = ("eval", "--model", stage2, "--task", task, "--json", "--data")
    done = run(*call, write("all.json", range(5)), code=1)
    [result] = lines_of(done)
    assert result.pop("bad") == 2
    assert "image 4: has no caption" in done.stderr and names[1].name in done.stderr
    assert "2 of 5 records are bad" in done.stderr and "--bad-share" in done.stderr
    [wanted] = lines_of(run(*call, write("good.json", (0, 2, 3))))
    assert result == wanted
    [borne] = lines_of(run(*call, tmp_path / "all.json", "--bad-share", 0.4))
    assert borne == {**wanted, "bad": 2}
    assert "more than 30 %" in run(*call, tmp_path / "all.json", "--bad-share", 0.3, code=1).stderr


def test_retrieval_of_shared_captions(run, run_json, stage2, pictures, tmp_path):
    """Ranks by LAVIS's protocol, computed here from the vectors; and by that of --shared-captions any."""
    names = sorted(pictures.glob("*.png"))[:6]
    captions = ["a red circle", "a shape", "a shape", "a blue square", "a shape", "a green triangle"]
    (tmp_path / "r.jsonl").write_text("".join(
        json.dumps({"image": str(name), "caption": [text, f"number {i}"]}) + "\n"
        for i, (name, text) in enumerate(zip(names, captions))))
    texts = [text for i, caption in enumerate(captions) for text in (caption, f"number {i}")]
    owner = [i for i in range(6) for _ in range(2)]
    (tmp_path / "t.txt").write_text("".join(f"{text}\n" for text in texts))
    run("embed", "--model", stage2, "--texts", tmp_path / "t.txt", "--output", tmp_path / "e.safetensors", *names)
    vectors = load_file(tmp_path / "e.safetensors")
    scores = numpy.einsum("nqe,me->nmq", vectors["image_embeds"], vectors["text_embeds"]).max(-1)

    def shares(ranks):
        places = numpy.array(ranks)
        recalls = {f"r{k}": pytest.approx(numpy.mean(places < k)) for k in (1, 5, 10)}
        return {**recalls, "mean_rank": pytest.approx(places.mean() + 1),
                "median_rank": pytest.approx(numpy.median(places) + 1)}

    def rank(row, right):
        best = max(row[i] for i in right)
        return sum(score >= best - 1e-6 for i, score in enumerate(row) if i not in right)

    to_image = [rank(scores[:, t], [owner[t]]) for t in range(12)]
    same = [[t for t in range(12) if texts[t] in texts[2 * i: 2 * i + 2]] for i in range(6)]
    to_text = [rank(scores[i], same[i]) for i in range(6)]
    call = ("eval", "--model", stage2, "--task", "retrieval", "--data", tmp_path / "r.jsonl")
    [own] = run_json(*call)
    for way in own["itc_only"].values():
        assert 0 <= way.pop("map_at_r") <= 1  # tests/parity/test_ranking.py has its values
    assert own["itc_only"] == {"image_to_text": shares(to_text), "text_to_image": shares(to_image)}
    assert (own["images"], own["texts"]) == (6, 12)
    # Three pictures have "a shape": at most one of its three queries finds its own first.
    assert own["text_to_image"]["r1"] <= 10 / 12 and math.isfinite(own["text_to_image"]["r1"])
    [shared] = run_json(*call, "--shared-captions", "any")
    unique = sorted(set(texts))
    any_right = [rank(scores[:, texts.index(text)], [owner[t] for t in range(12) if texts[t] == text])
                 for text in unique]
    assert shared["texts"] == len(unique) == 10
    by_text = shared["itc_only"]["text_to_image"]
    assert {name: by_text[name] for name in by_text if name != "map_at_r"} == shares(any_right)

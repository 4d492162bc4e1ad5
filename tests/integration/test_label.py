"""`label` and what chooses by the same probabilities: `caption --choose match`, `eval --choose match`."""

import json

import numpy
import pytest
from safetensors.numpy import load_file

NAMES = [f"a {colour} {shape}" for colour in ("red", "blue", "green", "black") for shape in ("circle", "square")]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("".join(f"{name}\n" for name in NAMES))
    return path


@pytest.fixture(scope="module")
def images(pictures):
    return sorted(pictures.glob("*.png"))[:5]


def temperature(folder):
    """That of the stage-1 model's heads, wherever the weights lie."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    [name] = [name for name in index if name.endswith("temperature")]
    return max(float(load_file(folder / index[name])[name]), 0.001)


@pytest.fixture(scope="module")
def reference(run, run_json, stage2, images, tmp_path_factory):
    """probabilities [I, N], cosines [I, N] and the places matched, from what `embed` and `match` give."""

    def compute(names, templates, rerank, weight=1.0):
        folder = tmp_path_factory.mktemp("reference")
        texts = [template.replace("{}", name, 1) for name in names for template in templates]
        (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts))
        run("embed", "--model", stage2, "--texts", folder / "texts.txt", "--output", folder / "e.safetensors", *images)
        vectors = load_file(folder / "e.safetensors")
        mean = vectors["text_embeds"].reshape(len(names), len(templates), -1).mean(1)
        mean /= numpy.linalg.norm(mean, axis=1, keepdims=True)
        cosine = numpy.einsum("iqe,ne->inq", vectors["image_embeds"], mean).max(-1).astype(float)
        flags = [word for text in texts for word in ("--text", text)]
        lines = run_json("match", "--model", stage2, *flags, *images)
        itm = numpy.array([line["itm"] for line in lines]).reshape(len(images), len(names), len(templates)).mean(-1)
        contrast = numpy.exp(cosine / temperature(stage2 / "stage1"))
        contrast /= contrast.sum(1, keepdims=True)
        best = numpy.argsort(-cosine, axis=1, kind="stable")[:, :rerank]
        probability = contrast.copy()
        for p, c, m, places in zip(probability, contrast, itm, best):
            joint = c[places] * m[places] ** weight
            p[places] = c[places].sum() * joint / joint.sum()
        return probability, cosine, itm, best

    return compute


@pytest.mark.parametrize("templates, rerank, weight", [
    (["{}"], 32, 1), (["{}"], 3, 1), (["a photo of {}", "{}?"], 4, 0.5), (["{}"], 0, 1)])
def test_label_equals_embed_and_match(run_json, stage2, images, names, reference, templates, rerank, weight):
    flags = [word for template in templates for word in ("--template", template)]
    if rerank == 32 and templates == ["{}"]:
        flags = []  # the defaults
    else:
        flags += ["--rerank", rerank, "--matching-weight", weight]
    lines = run_json("label", "--model", stage2, "--names", names, "--top", len(NAMES), *flags, *images)
    probability, cosine, itm, best = reference(NAMES, templates, rerank, weight)
    assert [line["image"] for line in lines] == [str(image) for image in images]
    for i, line in enumerate(lines):
        labels = line["labels"]
        assert all(list(label) == ["name", "probability", "itc", "itm"] for label in labels)
        shown = [label["probability"] for label in labels]
        assert sum(shown) == pytest.approx(1, abs=1e-9)
        assert shown == sorted(shown, reverse=True)
        for label in labels:
            place = NAMES.index(label["name"])
            assert label["probability"] == pytest.approx(probability[i, place], abs=2e-5)
            assert label["itc"] == pytest.approx(cosine[i, place], abs=1e-5)
            if place in best[i]:
                assert label["itm"] == pytest.approx(itm[i, place], abs=1e-5)
            else:
                assert label["itm"] is None


def test_label_does_not_depend_on_the_batch(run_json, run, stage2, images, names, tmp_path):
    options = ("label", "--model", stage2, "--names", names, "--top", 3)
    together = run_json(*options, *images)
    assert [len(line["labels"]) for line in together] == [3] * len(images)
    (tmp_path / "list.txt").write_text("".join(f"{image}\n" for image in images))
    assert run_json(*options, "--batch-size", 2, "--threads", 1, "--images-from", tmp_path / "list.txt") == together
    plain = run(*options, *images).stdout.splitlines()
    for text, line in zip(plain, together):
        cells = [f"{label['name']} {label['probability']:.4f}" for label in line["labels"]]
        assert text == "\t".join([line["image"], *cells])


@pytest.mark.parametrize("command", [["label", "--names"], ["caption", "--choose", "match", "--names"]])
def test_a_bad_picture_leaves_the_others(run, stage2, images, names, tmp_path, command):
    bad = tmp_path / "cut.png"
    bad.write_bytes(images[0].read_bytes()[:60])
    command = [command[0], "--model", stage2, *command[1:], names, "--json"]
    good = run(*command, images[0], images[1]).stdout.splitlines()
    done = run(*command, images[0], bad, images[1], code=1)
    first, second, third = done.stdout.splitlines()
    assert [first, third] == good
    fault = json.loads(second)
    assert fault["image"] == str(bad) and "cut.png" in fault["error"]
    assert done.stderr.count("cut.png") == 1 and "1 of 3 are bad" in done.stderr


def test_a_chosen_name_is_the_first_label(run_json, run, stage2, images, names):
    labels = run_json("label", "--model", stage2, "--names", names, "--top", 1, *images)
    lines = run_json("caption", "--model", stage2, "--choose", "match", "--names", names, *images)
    for line, label in zip(lines, labels):
        [best] = label["labels"]
        assert line == {"image": label["image"], "text": best["name"], "tokens": None, "score": None,
                        "probability": best["probability"], "itc": best["itc"], "itm": best["itm"]}
    plain = run("caption", "--model", stage2, "--choose", "match", "--names", names, images[0]).stdout
    best = labels[0]["labels"][0]
    assert plain == f"{images[0]}\t{best['name']}\t{best['probability']:.4f}\n"


SHORT = ("--max-new-tokens", 6)


@pytest.mark.parametrize("drawn", [False, True])
def test_the_best_of_written_texts(run_json, stage2, images, drawn):
    """Of several generated texts the one that contrast and matching favour; its probability is matching's."""
    how = ["--sample", "--temperature", 1.5, "--seed", 3] if drawn else []
    written = run_json("caption", "--model", stage2, *SHORT, *how, "--num-return-sequences", 7,
                       *([] if drawn else ["--beams", 7]), *images)
    chosen = run_json("caption", "--model", stage2, *SHORT, *how, "--choose", "match", "--candidates", 7, *images)
    scale, compared = temperature(stage2 / "stage1"), 0
    for i, line in enumerate(chosen):
        texts = {one["text"]: one for one in reversed(written[7 * i:7 * i + 7]) if one["text"]}
        if any("\0" in text for text in texts):  # which no argument of a program can hold
            continue
        compared += 1
        if not texts:
            assert (line["text"], line["probability"]) == ("", 0)
            continue
        flags = [word for text in texts for word in ("--text=" + text,)]
        scores = {one["text"]: one for one in run_json("match", "--model", stage2, *flags, images[i])}
        rank = {text: one["itc"] / scale + numpy.log(one["itm"]) for text, one in scores.items()}
        assert rank[line["text"]] == pytest.approx(max(rank.values()), abs=1e-3)
        assert line["tokens"] == texts[line["text"]]["tokens"] and line["score"] == texts[line["text"]]["score"]
        assert line["probability"] == line["itm"] == pytest.approx(scores[line["text"]]["itm"], abs=1e-5)
    assert compared > 0


def test_names_and_written_texts_together(run_json, stage2, images, names):
    both = run_json("caption", "--model", stage2, *SHORT, "--choose", "match", "--candidates", 3, "--names", names,
                    "--matching-weight", 0, *images)
    labels = run_json("label", "--model", stage2, "--names", names, "--matching-weight", 0, "--top", 1, *images)
    for line, label in zip(both, labels):
        [best] = label["labels"]
        assert line["itc"] >= best["itc"] - 1e-6  # by contrast alone, the best of more
        assert (line["tokens"] is None) == (line["text"] in NAMES)
        if line["text"] in NAMES:
            assert line["probability"] < best["probability"]  # the written ones have a share


def test_not_sure(run_json, run, stage2, images, names):
    options = ("caption", "--model", stage2, "--choose", "match", "--names", names)
    [sure] = run_json(*options, "--min-probability", 0, images[0])
    [unsure] = run_json(*options, "--min-probability", 1, images[0])
    assert sure["text"] in NAMES and unsure == {**sure, "text": None}
    assert run(*options, "--min-probability", 1, images[0]).stdout.split("\t")[1] == "not sure"


@pytest.fixture(scope="module")
def records(pictures, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "data.jsonl"
    lines = [{"image": str(image), "caption": ["A Thing, Red", "a circle"], "keywords": keywords}
             for image, keywords in zip(images, (["blue", "circles"], ["black circle", "green"], [], ["square"], ["red"]))]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_eval_counts_hits_of_chosen_names(run_json, run, stage2, images, names, records, tmp_path):
    command = ("eval", "--model", stage2, "--task", "caption", "--data", records, "--choose", "match", "--names", names)
    [result] = run_json(*command, "--results", tmp_path / "results.jsonl", "--report", tmp_path / "report.html")
    chosen = run_json("caption", "--model", stage2, "--choose", "match", "--names", names, *images)
    data = [json.loads(line) for line in records.open()]
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").open()]
    assert [(line["image"], line["text"], line["probability"]) for line in lines] == [
        (one["image"], one["text"], one["probability"]) for one in chosen]
    for line, record in zip(lines, data):
        said = line["text"].split()
        runs = [keyword.rstrip("s").split() for keyword in [*record["keywords"], "thing"]]
        expected = any(said[i:i + len(run)] == run for run in runs for i in range(len(said)))
        assert line["hit"] == expected
        assert (line["references"], line["exact"]) == (record["caption"], False)
    hits = sum(line["hit"] for line in lines)
    assert (result["hits"], result["captions"]) == (hits / 5, 5)
    low, high = result["hits_interval"]
    z, share = 1.959963984540054, hits / 5
    for end in (low, high):  # Wilson's ends solve (share - p)^2 = z^2 p (1 - p) / n
        assert (share - end) ** 2 == pytest.approx(z * z * end * (1 - end) / 5, abs=1e-12)
    page = (tmp_path / "report.html").read_text()
    assert page.count('class="hit"') == hits and page.count('class="miss"') == 5 - hits


def test_generic_words_make_no_hit(run_json, stage2, names, records, tmp_path):
    run_json("eval", "--model", stage2, "--task", "caption", "--data", records, "--choose", "match", "--names", names,
             "--generic-words", "things,square", "--results", tmp_path / "results.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").open()]
    for line, keywords in zip(lines, ([{"blue"}, {"circle"}], [{"black", "circle"}, {"green"}], [], [], [{"red"}])):
        said = set(line["text"].split())  # "A Thing, Red" is about red now
        assert line["hit"] == any(keyword <= said for keyword in [*keywords, {"red"}])


def test_results_of_questions(run_json, stage2, pictures, tmp_path):
    [result] = run_json("eval", "--model", stage2, "--task", "vqa", "--data", pictures / "vqa.jsonl",
                        "--results", tmp_path / "results.jsonl", *SHORT)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").open()]
    records = [json.loads(line) for line in (pictures / "vqa.jsonl").open()]
    assert [(line["question"], line["references"]) for line in lines] == [
        (record["question"], [record["answer"]]) for record in records]
    assert numpy.mean([line["accuracy"] for line in lines]) == pytest.approx(result["accuracy"])

"""`blip2 score`: result files of benchmarks scored without a model, intervals and comparison."""

import json
import pathlib
import random

import pytest

ANNOTATIONS = {
    "images": [{"id": 3, "file_name": "c.jpg"}, {"id": 1, "file_name": "a.jpg"}, {"id": 2}],
    "annotations": [
        {"image_id": 1, "caption": "A red dog runs home."},
        {"image_id": 3, "caption": "Two birds at 8:30 a.m."},
        {"image_id": 1, "caption": "a dog"},
        {"image_id": 2, "caption": "The man's hat isn't blue"},
        {"image_id": 3, "caption": "birds in the U.S. Open"},
    ],
}
RESULTS = [
    {"image_id": 1, "caption": "a red dog"},
    {"image_id": 2, "caption": "a man with a hat"},
    {"image_id": 3, "caption": "two birds in the U.S. Open"},
]


@pytest.fixture
def put(tmp_path):
    def write(name, value, lines=False):
        path = tmp_path / name
        text = "".join(json.dumps(v) + "\n" for v in value) if lines else json.dumps(value)
        path.write_text(text)
        return path

    return write


def score(run_json, task, results, references, *more, **options):
    return run_json("score", "--task", task, "--results", results, "--references", references,
                    *more, **options)[0]


def test_equals_pycocoevalcap_in_its_order(run_json, put):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    ours = score(run_json, "caption", put("r.json", RESULTS), put("a.json", ANNOTATIONS))
    ids = [image["id"] for image in ANNOTATIONS["images"]]
    pick = lambda rows, i: [row for row in rows if row["image_id"] == i]  # noqa: E731
    gts = PTBTokenizer().tokenize({i: pick(ANNOTATIONS["annotations"], i) for i in ids})
    res = PTBTokenizer().tokenize({i: pick(RESULTS, i) for i in ids})
    for i, bleu in enumerate(Bleu(4).compute_score(gts, res, verbose=0)[0]):
        assert ours[f"bleu_{i + 1}"] == pytest.approx(bleu, abs=1e-9)
    assert ours["rouge_l"] == pytest.approx(Rouge().compute_score(gts, res)[0], abs=1e-9)
    assert ours["cider"] == pytest.approx(Cider().compute_score(gts, res)[0], abs=1e-9)
    assert ours["captions"] == 3 and ours["exact"] == 0
    for name, (low, high) in ours["intervals"].items():
        assert low <= ours[name] <= high, name


def test_every_form_of_references_gives_the_same(run_json, put):
    sentences = {i: [a["caption"] for a in ANNOTATIONS["annotations"] if a["image_id"] == i]
                 for i in (3, 1, 2)}
    lines = [{"image": f"/no/such/{i}.jpg", "captions": texts} for i, texts in sentences.items()]
    by_caption = [{"image": f"p/{i}.jpg", "caption": t} for i, ts in sentences.items() for t in ts]
    karpathy = [{"cocoid": i, "filename": f"{i}.jpg", "split": "test",
                 "sentences": [{"raw": t} for t in texts]} for i, texts in sentences.items()]
    karpathy.append({"cocoid": 9, "filename": "9.jpg", "split": "val", "sentences": [{"raw": "x"}]})
    expected = score(run_json, "caption", put("r.json", RESULTS), put("a.json", ANNOTATIONS))
    printed = put("p.jsonl", [{"image": f"{r['image_id']}.jpg", "text": r["caption"]}
                              for r in RESULTS], lines=True)
    for references in (put("b.jsonl", lines, lines=True), put("c.json", by_caption),
                       f"{put('k.json', {'images': karpathy})}?split=test"):
        assert score(run_json, "caption", printed, references) == expected, references


def test_vqa_with_answer_types_and_records(run_json, put, tmp_path):
    ten = lambda *answers: [{"answer": a, "answer_id": i} for i, a in enumerate(answers)]  # noqa: E731
    annotations = {"annotations": [
        {"question_id": 10, "answer_type": "yes/no", "answers": ten(*["yes"] * 8, "no", "no")},
        {"question_id": 20, "answer_type": "number", "answers": ten(*["2"] * 2, *["3"] * 8)},
        {"question_id": 30, "answer_type": "other", "answers": ten(*["Red"] * 10)},
    ]}
    results = [{"question_id": 10, "answer": "Yes."}, {"question_id": 20, "answer": "two"},
               {"question_id": 30, "answer": "red"}]
    scores = tmp_path / "each.jsonl"
    ours = score(run_json, "vqa", put("r.json", results), put("a.json", annotations),
                 "--scores", scores)
    # All ten agree on "Red": nothing is put in normal form, so "red" is wrong, as in the original.
    assert ours["yes/no"] == 1 and ours["number"] == pytest.approx(0.6) and ours["other"] == 0
    assert ours["accuracy"] == pytest.approx(1.6 / 3) and ours["questions"] == 3
    each = [json.loads(line) for line in scores.read_text().splitlines()]
    assert [row["accuracy"] for row in each] == [1, pytest.approx(0.6), 0]
    assert each[0]["answer_type"] == "yes/no" and each[0]["result"] == "Yes."


def test_kinds_of_questions(run_json, put):
    annotations = {"annotations": [
        {"question_id": i, "answer_type": "other", "question_type": kind, "answers": [{"answer": "red"}]}
        for i, kind in enumerate(("what is the", "what is the", "which"))]}
    results = [{"question_id": 0, "answer": "red"}, {"question_id": 1, "answer": "blue"},
               {"question_id": 2, "answer": "red"}]
    ours = score(run_json, "vqa", put("r.json", results), put("a.json", annotations))
    assert ours["by_kind"]["question_type"] == {"what is the": {"accuracy": 0.5, "questions": 2},
                                                "which": {"accuracy": 1, "questions": 1}}
    assert ours["by_kind"]["answer_type"]["other"]["questions"] == 3


def test_gqa_files(run_json, put):
    questions = {"201": {"question": "Is it red?", "imageId": "n1", "answer": "yes", "isBalanced": True,
                         "types": {"structural": "verify", "semantic": "attr", "detailed": "verifyColor"}},
                 "202": {"question": "What is it?", "imageId": "n1", "answer": "dog",
                         "types": {"structural": "query", "semantic": "obj", "detailed": "category"}}}
    results = [{"questionId": "201", "prediction": "yes"}, {"questionId": "202", "prediction": "cat"}]
    ours = score(run_json, "vqa", put("r.json", results), put("gqa.json", questions))
    assert ours["accuracy"] == 0.5 and ours["by_kind"]["structural"]["verify"]["accuracy"] == 1
    assert ours["by_kind"]["semantic"]["obj"] == {"accuracy": 0, "questions": 1}


def test_domains_of_nocaps_are_sets_of_their_own(run_json, put):
    annotations = json.loads(json.dumps(ANNOTATIONS))
    for image, domain in zip(annotations["images"], ("in-domain", "near-domain", "in-domain")):
        image["domain"] = domain
    ours = score(run_json, "caption", put("r.json", RESULTS), put("a.json", annotations))
    domains = ours["by_kind"]["domain"]
    assert domains["in-domain"]["captions"] == 2 and domains["near-domain"]["captions"] == 1
    inside = {"images": [i for i in annotations["images"] if i["domain"] == "in-domain"],
              "annotations": [a for a in annotations["annotations"] if a["image_id"] != 1]}
    alone = score(run_json, "caption", put("r2.json", RESULTS[1:]), put("a2.json", inside))
    for name in ("bleu_4", "rouge_l", "cider", "cider_d"):
        assert domains["in-domain"][name] == alone[name]


def test_meteor_with_its_data(run_json, run, put, tmp_path):
    from pycocoevalcap.meteor import meteor
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    folder = pathlib.Path(meteor.__file__).parent
    files = put("r.json", RESULTS), put("a.json", ANNOTATIONS)
    ours = score(run_json, "caption", *files, "--meteor-data", folder / "meteor-1.5.jar", "--scores",
                 tmp_path / "each.jsonl")
    pick = lambda rows, i: [row for row in rows if row["image_id"] == i]  # noqa: E731
    ids = [image["id"] for image in ANNOTATIONS["images"]]
    every, each = meteor.Meteor().compute_score(
        PTBTokenizer().tokenize({i: pick(ANNOTATIONS["annotations"], i) for i in ids}),
        PTBTokenizer().tokenize({i: pick(RESULTS, i) for i in ids}))
    assert ours["meteor"] == pytest.approx(every, abs=1e-6)
    low, high = ours["intervals"]["meteor"]
    assert low <= ours["meteor"] <= high
    lines = [json.loads(line)["meteor"] for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert lines == pytest.approx(each, abs=1e-6)
    assert "meteor" not in score(run_json, "caption", *files)
    done = run("score", "--task", "caption", "--results", files[0], "--references", files[1],
               "--meteor-data", files[0], code=1)
    assert "paraphrase-en.gz" in done.stderr


def test_report_with_both_runs_opens_without_a_network(run, put, pictures, tmp_path):
    from html.parser import HTMLParser

    names = sorted(path.name for path in pictures.glob("*.png"))[:3]
    references = [{"image": str(pictures / name), "caption": f"a <b> {name}"} for name in names]
    ours = [{"image": name, "caption": f"a b {name}"} for name in names]
    theirs = [{"image": name, "caption": "nothing" if i else f"a <b> {name}"} for i, name in enumerate(names)]
    report = tmp_path / "r.html"
    run("score", "--task", "caption", "--results", put("o.json", ours), "--references",
        put("a.jsonl", references, lines=True), "--against", put("t.json", theirs), "--report", report)
    links = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: links.extend(
        value for name, value in attributes if name in ("src", "href"))
    page = report.read_text()
    parser.feed(page)
    assert len(links) == 3 and all(link.startswith("data:image/png;base64,") for link in links)
    assert "Best answers" in page and "Worst answers" in page and "against: nothing" in page
    assert "a &lt;b&gt; " in page and "<b>" not in page.split("</style>")[1]
    run("score", "--task", "caption", "--results", put("o.json", ours), "--references",
        put("b.jsonl", [{"image": f"/gone/{name}", "caption": "x"} for name in names], lines=True),
        "--images", pictures, "--report", report)
    assert report.read_text().count("<img") == 3 and "against:" not in report.read_text()


def test_short_answer_lists_are_compared_in_normal_form(run_json, put):
    references = [{"image": "a.png", "question": "What?", "answer": "Triangle."},
                  {"image": "a.png", "question": "Which?", "answers": ["the red one", "red"]}]
    results = [{"image": "x/a.png", "question": "What?", "answer": "triangle"},
               {"image": "x/a.png", "question": "Which?", "answer": "blue"}]
    ours = score(run_json, "vqa", put("r.jsonl", results, lines=True),
                 put("a.jsonl", references, lines=True))
    assert ours["accuracy"] == 0.5


def coin_files(put, shares, count=400):
    rng = random.Random(3)
    references = [{"question_id": i, "answer": "yes"} for i in range(count)]
    for name, share in shares.items():
        put(name, [{"question_id": i, "answer": "yes" if rng.random() < share else "no"}
                   for i in range(count)])
    return put("a.json", references)


def test_comparison_tells_chance_from_difference(run_json, put, tmp_path):
    references = coin_files(put, {"good.json": 0.9, "bad.json": 0.6, "alike.json": 0.6})
    far = score(run_json, "vqa", tmp_path / "good.json", references,
                "--against", tmp_path / "bad.json")
    assert far["differences"]["accuracy"]["p"] < 0.01 and "hardly" in far["verdict"]
    assert far["differences"]["accuracy"]["difference"] == pytest.approx(
        far["results"]["accuracy"] - far["against"]["accuracy"])
    low, high = far["results"]["intervals"]["accuracy"]
    assert 0.8 < low < far["results"]["accuracy"] < high < 0.97
    near = score(run_json, "vqa", tmp_path / "bad.json", references,
                 "--against", tmp_path / "alike.json")
    assert near["differences"]["accuracy"]["p"] > 0.05 and "may make" in near["verdict"]
    again = score(run_json, "vqa", tmp_path / "bad.json", references,
                  "--against", tmp_path / "alike.json")
    assert again == near
    other = score(run_json, "vqa", tmp_path / "bad.json", references,
                  "--against", tmp_path / "alike.json", "--seed", 1)
    assert other["results"]["intervals"] != near["results"]["intervals"]


def test_missing_results_need_partial(run, run_json, put):
    references = put("a.json", ANNOTATIONS)
    some = put("r.json", RESULTS[:2])
    done = run("score", "--task", "caption", "--results", some, "--references", references, code=1)
    assert "1 of 3 references have no result" in done.stderr and "--partial" in done.stderr
    assert done.stdout == ""
    assert score(run_json, "caption", some, references, "--partial")["captions"] == 2


@pytest.mark.parametrize("results, said", [
    ([{"image_id": 7, "caption": "x"}], "not among the references"),
    (RESULTS + RESULTS[:1], "several for identifier 1"),
    ([{"image_id": 1, "caption": 5}], "entry 1: \"caption\": expected text"),
    ([{"caption": "x"}], "entry 1: expected \"image_id\""),
    ([{"image_id": 1}], "entry 1: expected a key \"caption\""),
    ([{"image_id": 1, "caption": "x" * 10_001}] + RESULTS[1:], "at most 10000 characters"),
    ([], "holds no captions"),
    ([3], "entry 1: expected an object"),
])
def test_bad_results_are_named(run, put, tmp_path, results, said):
    scores = tmp_path / "each.jsonl"
    done = run("score", "--task", "caption", "--results", put("r.json", results), "--references",
               put("a.json", ANNOTATIONS), "--scores", scores, code=1)
    assert said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == "" and not scores.exists()


@pytest.mark.parametrize("text", ["", "{", "[{\"image_id\": 1", "\x00\x01", "[[[[[[[["])
def test_broken_files_give_one_error(run, put, tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    done = run("score", "--task", "caption", "--results", tmp_path / "r.json", "--references",
               put("a.json", ANNOTATIONS), code=1)
    assert "r.json" in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_layout_of_a_file_does_not_matter(run_json, put, tmp_path):
    """Plain entries are read in another way than those with escapes, other characters or more members."""
    references = put("a.json", ANNOTATIONS)
    expected = score(run_json, "caption", put("r.json", RESULTS), references)
    for number, text in enumerate((
            json.dumps(RESULTS, indent=1), json.dumps(RESULTS, separators=(",", ":")),
            json.dumps([{"caption": r["caption"], "extra": None, **r} for r in RESULTS]),
            json.dumps([{**r, "image_id": str(r["image_id"])} for r in RESULTS]),
            json.dumps([{**r, "image_id": float(r["image_id"])} for r in RESULTS]),
            json.dumps(RESULTS).replace("dog", "\\u0064og"),
            "\n".join(json.dumps(r) for r in RESULTS), "\ufeff" + json.dumps(RESULTS))):
        (tmp_path / f"{number}.json").write_text(text, encoding="utf-8")
        assert score(run_json, "caption", tmp_path / f"{number}.json", references) == expected, text
    accents = [{**r, "caption": r["caption"] + " café"} for r in RESULTS]
    escaped = score(run_json, "caption", put("e.json", accents), references)
    (tmp_path / "u.json").write_text(json.dumps(accents, ensure_ascii=False), encoding="utf-8")
    assert score(run_json, "caption", tmp_path / "u.json", references) == escaped

"""evaluation/ against pycocoevalcap, and VQA's normal form against one written with regexes."""

import json
import random
import re

import pytest

WORDS = "a the dog cat red two runs on in grass house big of small sky with blue is".split()


def sentence(rng, low=0, high=14):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


@pytest.mark.parametrize("seed", range(4))
def test_caption_metrics(probe, tmp_path, seed):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    rng = random.Random(seed)
    references = [[sentence(rng, 1) for _ in range(rng.randint(1, 6))] for _ in range(200)]
    candidates = [
        sentence(rng) if rng.random() < 0.5 else rng.choice(texts) for texts in references
    ]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"candidates": candidates, "references": references}))
    ours = json.loads(probe("evaluation", "captions", path))
    gts = dict(enumerate(references))
    res = {i: [text] for i, text in enumerate(candidates)}
    assert ours["bleu"] == pytest.approx(Bleu(4).compute_score(gts, res, verbose=0)[0], rel=1e-12)
    assert ours["rouge_l"] == pytest.approx(Rouge().compute_score(gts, res)[0], rel=1e-12)
    assert ours["cider"] == pytest.approx(Cider().compute_score(gts, res)[0], rel=1e-12)


def normal_form(text):
    """The benchmark's rules, without contractions."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    out = text
    for mark in ';/[]"{}()=+\\_-><@`,?!':
        drop = mark + " " in text or " " + mark in text or re.search(r"\d,\d", text)
        out = out.replace(mark, "" if drop else " ")
    out = re.sub(r"\.(?!\d)", "", out)
    numbers = "zero one two three four five six seven eight nine ten".split()
    words = [w for w in out.lower().split() if w not in ("a", "an", "the")]
    words = ["0" if w == "none" else str(numbers.index(w)) if w in numbers else w for w in words]
    return " ".join(words)


def accuracy(answer, people):
    answer, people = answer.strip(), [p.strip() for p in people]
    if len(set(people)) > 1:
        answer, people = normal_form(answer), [normal_form(p) for p in people]
    others = [people[:i] + people[i + 1 :] for i in range(10)]
    return sum(min(rest.count(answer) / 3, 1) for rest in others) / 10


def test_vqa_accuracy(probe, tmp_path):
    rng = random.Random(5)
    pieces = ["two", "Dog", "the ", "A", "-", " - ", ",", "1,000", ".", " .5", "!", "? ", "(", ";"]
    pieces += [" ", "none", "one", "/", "cat", "ten"]
    answers = ["".join(rng.choices(pieces, k=rng.randint(0, 6))) for _ in range(3000)]
    cases = []
    for answer in answers:
        variants = [answer, answer.upper(), "the " + answer, answer + ".", rng.choice(answers)]
        people = [rng.choice(variants) for _ in range(10)]
        cases.append([answer, people if rng.random() < 0.9 else [people[0]] * 10])
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(cases))
    for case, (ours, form) in zip(cases, json.loads(probe("evaluation", "answers", path))):
        assert form == normal_form(case[0]), case
        assert ours == pytest.approx(accuracy(*case), abs=1e-12), case

"""evaluation/ against pycocoevalcap 1.2 (its tokenizer is a Java program) and VQA's own scoring."""

import json
import os
import random
import re

import caption_texts
import numpy
import pytest

THOROUGH = os.environ.get("BLIP2_THOROUGH") == "1"
WORDS = "a the dog cat red two runs on in grass house big of small sky with blue is".split()


def sentence(rng, low=0, high=14):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def run_json(probe, tmp_path, what, value):
    path = tmp_path / "given.json"
    path.write_text(json.dumps(value))
    return json.loads(probe("evaluation", what, path))


def tokenised(texts):
    """Lists of captions as pycocoevalcap's PTBTokenizer tokenises them, all in one run."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    given = {i: [{"caption": text} for text in some] for i, some in enumerate(texts)}
    tokens = PTBTokenizer().tokenize(given)
    return [tokens[i] for i in range(len(texts))]


def scores_of_reference(candidates, references):
    """pycocoevalcap's scores of tokenised captions: (of all, of each)."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts, res = dict(enumerate(references)), {i: [text] for i, text in enumerate(candidates)}
    bleu, bleu_each = Bleu(4).compute_score(gts, res, verbose=0)
    rouge, rouge_each = Rouge().compute_score(gts, res)
    cider, cider_each = Cider().compute_score(gts, res)
    each = [
        {"bleu": list(b), "rouge_l": r, "cider": c}
        for b, r, c in zip(zip(*bleu_each), rouge_each, cider_each)
    ]
    return {"bleu": bleu, "rouge_l": rouge, "cider": cider}, each


def paper_cider_d(candidates, references):
    """CIDEr-D by the paper's formulas (Vedantam et al. 2015, equations 2 to 5), of tokenised captions."""
    def vectors(caption, n):
        words = caption.split()
        grams = [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]
        shares = {gram: grams.count(gram) / len(grams) for gram in grams}
        return {gram: share * rarity(gram) for gram, share in shares.items()}

    def grams_of(caption):
        words = caption.split()
        return {tuple(words[i:i + n]) for n in range(1, 5) for i in range(len(words) - n + 1)}

    pictures = [set().union(*map(grams_of, some)) for some in references]
    frequency = {}
    for grams in pictures:
        for gram in grams:
            frequency[gram] = frequency.get(gram, 0) + 1

    def rarity(gram):
        return numpy.log(len(references) / max(1, frequency.get(gram, 0)))

    each = []
    for candidate, some in zip(candidates, references):
        total = 0
        for n in range(1, 5):
            c = vectors(candidate, n)
            for reference in some:
                s = vectors(reference, n)
                norms = numpy.linalg.norm(list(c.values())) * numpy.linalg.norm(list(s.values()))
                if norms == 0:
                    continue
                product = sum(min(weight, s.get(gram, 0)) * s.get(gram, 0) for gram, weight in c.items())
                delta = len(candidate.split()) - len(reference.split())
                total += 10 / len(some) * numpy.exp(-delta**2 / (2 * 6**2)) * product / norms / 4
        each.append(total)
    return each


def assert_close(ours, theirs):
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, abs=1e-9), key


@pytest.mark.parametrize("seed", range(10 if THOROUGH else 1))
def test_tokens_equal_the_jar(probe, tmp_path, seed):
    captions = caption_texts.captions(random.Random(seed), 20_000)
    theirs = [some[0] for some in tokenised([[text] for text in captions])]
    ours = run_json(probe, tmp_path, "tokens", captions)
    different = [row for row in zip(captions, ours, theirs) if row[1] != row[2]]
    assert not different, (len(different), different[:5])


def test_every_character_alone_and_in_a_word(probe, tmp_path):
    """All of the Basic Multilingual Plane but surrogates and line breaks."""
    breaks = (*range(0x0A, 0x0E), 0x85, 0x2028, 0x2029)
    characters = [chr(c) for c in range(1, 0x10000) if c not in breaks and c >> 11 != 0x1B]
    captions = [f"x{c}y {c}" for c in characters]
    theirs = [some[0] for some in tokenised([[text] for text in captions])]
    ours = run_json(probe, tmp_path, "tokens", captions)
    different = [row for row in zip(captions, ours, theirs) if row[1] != row[2]]
    assert not different, (len(different), different[:5])


@pytest.mark.parametrize("seed", range(2))
def test_caption_metrics(probe, tmp_path, seed):
    rng = random.Random(seed)
    references = [[sentence(rng, 1) for _ in range(rng.randint(1, 6))] for _ in range(300)]
    references += [caption_texts.captions(rng, rng.randint(1, 6)) for _ in range(300)]
    candidates = [
        rng.choice((sentence(rng), rng.choice(texts), caption_texts.caption(rng)))
        for texts in references
    ]
    ours = run_json(
        probe, tmp_path, "captions", {"candidates": candidates, "references": references}
    )
    their_candidates = [some[0] for some in tokenised([[text] for text in candidates])]
    all_of_them, each = scores_of_reference(their_candidates, tokenised(references))
    assert_close(ours["all"], all_of_them)
    assert len(ours["each"]) == len(each) == 600
    for mine, yours in zip(ours["each"], each):
        assert_close(mine, yours)
    paper = paper_cider_d(their_candidates, tokenised(references))
    assert [mine["cider_d"] for mine in ours["each"]] == pytest.approx(paper, abs=1e-9)
    assert ours["all"]["cider_d"] == pytest.approx(numpy.mean(paper), abs=1e-9)


CONTRACTIONS = """ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've
hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't
shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
y'all'd've you'd you'd've you'll you're you've""".split()
WITHOUT_ONE = {
    word[:i] + word[i + 1 :]: word
    for word in CONTRACTIONS
    for i, letter in enumerate(word)
    if letter == "'"
}
WITHOUT_ONE["somebody'd"] = "somebodyd"  # the other way round in the original
NUMBERS = "zero one two three four five six seven eight nine ten".split()


def normal_form(text):
    """The benchmark's rules: punctuation, then numbers, articles and contractions."""
    out = text
    for mark in ';/[]"{}()=+\\_-><@`,?!':
        drop = mark + " " in text or " " + mark in text or re.search(r"\d,\d", text)
        out = out.replace(mark, "" if drop else " ")
    out = re.sub(r"\.(?!\d)", "", out, count=32)
    words = ["0" if w == "none" else str(NUMBERS.index(w)) if w in NUMBERS else w
             for w in out.lower().split()]
    return " ".join(WITHOUT_ONE.get(w, w) for w in words if w not in ("a", "an", "the"))


def cleaned(text):
    return text.replace("\n", " ").replace("\t", " ").strip()


def accuracy(answer, people):
    answer, people = cleaned(answer), [cleaned(p) for p in people]
    if len(set(people)) > 1:
        answer, people = normal_form(answer), [normal_form(p) for p in people]
    others = [people[:i] + people[i + 1 :] for i in range(10)]
    return sum(min(rest.count(answer) / 3, 1) for rest in others) / 10


def test_vqa_accuracy(probe, tmp_path):
    rng = random.Random(5)
    pieces = ["two", "Dog", "the ", "A", "-", " - ", ",", "1,000", ".", " .5", "!", "? ", "(", ";"]
    pieces += [" ", "none", "one", "/", "cat", "ten", "\n", "\t", "É", "\u00a0", "'", ":", "." * 9]
    pieces += CONTRACTIONS + list(WITHOUT_ONE)

    def answer():
        return "".join(rng.choices(pieces, k=rng.randint(0, 5)))

    cases = []
    for _ in range(20_000):
        given = answer()
        variants = [given, given.upper(), "the " + given, given + ".", answer(), answer()]
        people = [rng.choice(variants) for _ in range(10)]
        cases.append([given, people if rng.random() < 0.9 else [people[0]] * 10])
    ours = run_json(probe, tmp_path, "answers", cases)
    for case, (mine, form) in zip(cases, ours):
        assert form == normal_form(cleaned(case[0])), case
        assert mine == pytest.approx(accuracy(*case), abs=1e-12), case

"""METEOR against the Java program in pycocoevalcap 1.2, on captions with stems, synonyms and paraphrases."""

import gzip
import itertools
import json
import pathlib
import random
import subprocess

import caption_texts
import pytest
from pycocoevalcap.meteor import meteor

FOLDER = pathlib.Path(meteor.__file__).parent
WORDS = """a the man woman boy girl child kid dog puppy cat kitten bike bicycle riding rides ride rode runs
running ran street road grass field big large small little car automobile vehicle truck sofa couch sitting
sits sat standing stands stood near beside next to of in on top with and two people persons photo picture
image showing shows table food eating eats ate tv television phone cellphone hold holding holds handful
men women children mice geese happily happy quickly generously generous skies sky dying proceed news early""".split()


@pytest.fixture(scope="module")
def phrases():
    """Pairs of phrases that mean the same, from all over the table."""
    with gzip.open(FOLDER / "data" / "paraphrase-en.gz", "rt", encoding="utf-8") as table:
        lines = itertools.islice(table, 1_500_000)
        entries = [(next(lines).strip(), next(lines).strip()) for _ in lines]
    return random.Random(1).sample(entries, 3000)


def write(rng, phrases):
    """A candidate and its references: common words, here and there one of two phrases, odd texts too."""
    candidate, references = [], [[] for _ in range(rng.randint(1, 5))]
    for _ in range(rng.randint(0, 12)):
        chance = rng.random()
        if chance < 0.25:
            one, other = rng.choice(phrases)
            candidate.append(one)
            [reference.append(rng.choice((one, other))) for reference in references]
        elif chance < 0.35:
            odd = caption_texts.plain_caption(rng) if chance < 0.3 else caption_texts.caption(rng)
            candidate.append(odd)
            rng.choice(references).append(odd)
        else:
            candidate.append(rng.choice(WORDS))
            [reference.append(rng.choice((rng.choice(WORDS), candidate[-1]))) for reference in references]
    for reference in references:
        if rng.random() < 0.3:
            rng.shuffle(reference)
    return " ".join(candidate), [" ".join(reference) for reference in references]


def tokenised(probe, tmp_path, texts):
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    return json.loads(probe("evaluation", "tokens", tmp_path / "texts.json"))


def test_scores_equal_the_jar(probe, tmp_path, phrases):
    rng = random.Random(2)
    written = [write(rng, phrases) for _ in range(3000)]
    flat = tokenised(probe, tmp_path, [text for candidate, references in written for text in (candidate, *references)])
    rest = iter(flat)
    captions = [(next(rest), [next(rest) for _ in references]) for _, references in written]
    given = {"candidates": [c for c, _ in captions], "references": [r for _, r in captions]}
    (tmp_path / "given.json").write_text(json.dumps(given))
    ours = json.loads(probe("evaluation", "meteor", tmp_path / "given.json", FOLDER))
    every, each = meteor.Meteor().compute_score({i: r for i, (_, r) in enumerate(captions)},
                                         {i: [c] for i, (c, _) in enumerate(captions)})
    different = [(a, b, *caption) for a, b, caption in zip(ours["each"], each, captions) if abs(a - b) > 1e-6]
    assert not different, (len(different), different[:3])
    assert ours["all"] == pytest.approx(every, abs=1e-6)
    assert 0.2 < every < 0.9 and len({round(score, 6) for score in each}) > 2000


def test_stems_equal_the_jar(probe, tmp_path):
    with gzip.open(FOLDER / "data" / "paraphrase-en.gz", "rt", encoding="utf-8") as table:
        found = {word for line in itertools.islice(table, 3_000_000) for word in line.split()}
    endings = ["", "s", "'s", "ies", "ied", "ing", "ingly", "edly", "eed", "ational", "fulness", "ization", "li",
               "ogi", "ment", "ement", "ion", "e", "ll", "y"]
    rng = random.Random(3)
    found |= {rng.choice(WORDS) + rng.choice(endings) for _ in range(5000)}
    found |= {"".join(rng.choices("aeiouybdlstrng'", k=rng.randint(1, 9))) for _ in range(50_000)}
    words = sorted(word for word in found if not all(c in "0123456789.,-" for c in word) and word.isascii())
    done = subprocess.run(["java", "-cp", FOLDER / "meteor-1.5.jar", "Stemmer", "en"], input="\n".join(words) + "\n",
                          capture_output=True, text=True, check=True)
    (tmp_path / "words.json").write_text(json.dumps(words))
    ours = json.loads(probe("evaluation", "stems", tmp_path / "words.json"))
    different = [row for row in zip(words, ours, done.stdout.split("\n")) if row[1] != row[2]]
    assert len(words) > 50_000 and not different, (len(different), different[:20])


def test_missing_data_is_named(probe, tmp_path):
    (tmp_path / "given.json").write_text('{"candidates": ["a"], "references": [["a"]]}')
    for data, said in ((tmp_path, "meteor-1.5.jar"), (tmp_path / "given.json", "paraphrase-en.gz")):
        with pytest.raises(AssertionError, match=said):
            probe("evaluation", "meteor", tmp_path / "given.json", data)

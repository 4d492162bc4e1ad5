"""Strings of every kind, and the comparison of a tokenizer with `tokenizers` over them."""

import inspect
import json
import random
import unicodedata

import tokenizers
from tokenizers import pre_tokenizers as PT

SENTENCES = [
    "A photo of a cat sitting on a wooden bench, next to the red-brick wall.",
    "Question: how many people are there? Short answer: 12,345.67 (about 1e4).",
    "I'll say it's what they've done; we'd've gone, but you're late & he'd not.",
    "El niño comió piñas en São Paulo; der Straßenbahnfahrer heißt Jürgen Müller.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "人工知能は画像を説明する。東京タワーは333メートルです。",
    "한국어 문장은 띄어쓰기가 있습니다.",
    "مرحبا بالعالم، كيف حالك؟ १२३ ٤٥٦",
    "def f(x):\n    return {'a': x**2, \"b\": [1, 2, 3]}  # comment\n",
    "https://example.org/a?b=c&d=%20#frag user@mail.example C:\\path\\file.txt",
    "Tiếng Việt có nhiều dấu: ằẳẵặ ếềểễệ; Ελληνικά: ᾳῃῳ ΐ ΰ.",
]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u0085", "\u200b", "\v\f", "\u2028"]
PIECES = [
    "👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "👍🏽", "🇩🇪🇫🇷", "e\u0301\u0323", "a\u0323\u0301\u0338", "ﬁ", "Å", "İ",
    "ß", "ẞ", "Ǆ", "½", "²³", "①", "Ⅷ", "१२", "٣٤", "𝟘𝟙", "零", "中文", "かな", "한", "\u1100\u1161\u11a8", "नि",
    "'s", "'S", "'re", "'ll", "’s", "don't", "''", "--", "...", "…", "«»", "\u0000", "\ufffd", "\u00ad",
    "\u200f", "\ue000", "\U000f0000", "\U0010ffff", "\u0378", "_", "$", "^", "`", "|", "##", "##ing", "Ġ", "ĠĠ",
]


def code_points():
    return [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def assigned():
    return [c for c in code_points() if unicodedata.category(chr(c)) not in ("Cn", "Co")]


def every_code_point(rng):
    """Each code point: the assigned ones in contexts of their own, the rest in runs."""
    known = assigned()
    marks = [chr(c) for c in known if unicodedata.combining(chr(c))]
    contexts = ["a{}b", " {}{} x", "1{}2", "{}", "e{}{m}", "!{} ?", "  {}\n{}", "A{m}{}"]
    texts = []
    for c in known:
        if 0x4E00 <= c < 0x9FFF or 0xAC00 <= c < 0xD7A4 or c > 0x20000:
            continue  # uniform blocks: in the runs
        context = contexts[c % len(contexts)]
        texts.append(context.replace("{m}", rng.choice(marks)).replace("{}", chr(c)))
    points = code_points()
    texts += ["x".join(map(chr, points[i : i + 64])) for i in range(0, len(points), 64)]
    return texts


def mixtures(rng, specials, count):
    """Special tokens glued to text, runs, spaces, digits, emoji, marks and sentences, mixed."""
    known = assigned()
    words = " ".join(SENTENCES).split(" ")
    makers = [
        lambda: rng.choice(specials),
        lambda: rng.choice(specials)[: rng.randint(1, 6)],
        lambda: rng.choice(SPACES) * rng.randint(1, 3),
        lambda: rng.choice(PIECES),
        lambda: rng.choice(words),
        lambda: rng.choice(words).upper(),
        lambda: " ",
        lambda: str(rng.randint(0, 10**9)),
        lambda: chr(rng.choice(known)),
        lambda: "".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 8))),
        lambda: rng.choice("aA1 .!é中👍") * rng.randint(2, 40),
    ]
    return ["".join(rng.choice(makers)() for _ in range(rng.randint(1, 10))) for _ in range(count)]


def random_utf8(rng, count):
    """Random bytes read as Python reads them."""
    texts = (rng.randbytes(rng.randint(1, 40)).decode("utf-8", "replace") for _ in range(count))
    return [t for t in texts if t]


def long_runs(rng):
    runs = [u * n for u in ("a", " ", "1", "é", "the ", "\n", "ab", "!", "中", "\u0301", "# ") for n in (99, 100, 101, 5000)]
    return runs + ["x" * 20000, " " * 20000, "".join(rng.choice("abcde") for _ in range(20000))]


def corpus(specials, count=45000):
    rng = random.Random(2301)
    return SENTENCES + PIECES + SPACES + long_runs(rng) + every_code_point(rng) + mixtures(
        rng, specials, count
    ) + random_utf8(rng, 5000)


def jsonl(path, values):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(value) + "\n" for value in values)
    return path


def ours(probe, tmp_path, what, model, values, *special):
    lines = probe("tokenize", what, model, jsonl(tmp_path / "in.jsonl", values), *special)
    return [json.loads(line) for line in lines.split("\n") if line]


def compare(probe, tmp_path, backend, model, texts):
    """Ids of all texts, and the text of their ids with special tokens skipped and (a part) kept."""
    backend.no_truncation()
    backend.no_padding()
    expected = [e.ids for e in backend.encode_batch_fast(texts)]
    got = ours(probe, tmp_path, "encode", model, texts, "special")
    assert len(got) == len(texts)
    differing = [(t, e, g) for t, e, g in zip(texts, expected, got) if e != g]
    assert not differing, (len(differing), differing[:3])
    for keep, ids in ((False, expected), (True, expected[::4])):
        back = ours(probe, tmp_path, "decode", model, ids, *(["keep"] if keep else []))
        wanted = backend.decode_batch(ids, skip_special_tokens=not keep)
        differing = [(i, e, g) for i, e, g in zip(ids, wanted, back) if e != g]
        assert not differing, (len(differing), differing[:3])


def added(backend):
    return [token.content for token in backend.get_added_tokens_decoder().values()]


def few(specials, count=2000):
    """A small corpus, for what the large ones have not asked."""
    rng = random.Random(12597)
    return SENTENCES + PIECES + SPACES + every_code_point(rng)[::50] + mixtures(rng, specials, count)


def check_large(probe, tmp_path, backend, model):
    texts = corpus(added(backend))
    assert len(texts) >= 100_000
    compare(probe, tmp_path, backend, model, texts)


def train(folder, specials, config, add_prefix_space=False):
    """A small byte-level BPE as vocab.json, merges.txt and tokenizer_config.json in `folder`."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = PT.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=specials,
        initial_alphabet=PT.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES + inspect.getsource(random).split("\n\n"), trainer)
    tokenizer.model.save(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer

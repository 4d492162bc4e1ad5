"""T5, Llama, Mistral, Qwen2, Gemma and o200k tokenizers against `tokenizers` and transformers, live."""

import inspect
import json
import os
import random

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
import gguf  # noqa: E402
from sentencepiece_files import charsmap, model_file, nfkc_rules  # noqa: E402
from text_strings import SENTENCES, added, compare, corpus, few  # noqa: E402
from tokenizers import decoders, models, normalizers, processors, trainers  # noqa: E402
from tokenizers import pre_tokenizers as PT  # noqa: E402
from transformers.tokenization_utils_base import generate_merges  # noqa: E402

TEXTS = SENTENCES + inspect.getsource(random).split("\n\n")
BYTES = [f"<0x{b:02X}>" for b in range(256)]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CAPITALS, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDING, BEFORE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"[^\r\n\p{L}\p{N}]?"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = f"{BEFORE}{CAPITALS}*{SMALL}+{ENDING}|{BEFORE}{CAPITALS}+{SMALL}*{ENDING}|" + r"\p{N}{1,3}" + REST
TEKKEN = f"{BEFORE}{CAPITALS}*{SMALL}+|{BEFORE}{CAPITALS}+{SMALL}*|" + r"\p{N}" + REST
CASED = ["camelCase HTMLPage ABCdef aBC", "it'S IT's 'Twas", "ʰAʰaʰ ǅa Aǅ aAa\u0301B\u0301b", "\u0301\u0301Ab", "中Ab中",
         "!Ab !aB !!aB", "//\n/ /x", "12345a1b", "A'LL a'ſ A'ſx"]
EXTRA = ["it'S 'ſ'RE 'ſx' 'Ll'", "a'ſ", "  \r\n \n x", "\n\n  a", "12345 1 22 333", "!!\r\n\r\nx", "\tabc\t\n"]
SPECIALS = ["<s>", "</s>", "<unk>", "<pad>", "<extra_id_0>", "<extra_id_99>", "<|endoftext|>", "<|im_end|>"]


@pytest.fixture(scope="module")
def texts():
    """The same strings for every tokenizer, so that they are made once."""
    strings = corpus(SPECIALS) + EXTRA
    assert len(strings) >= 100_000
    return strings


@pytest.fixture(scope="module")
def blob():
    return charsmap(nfkc_rules())


@pytest.fixture(scope="module")
def unigram():
    """(piece, score) of a small unigram model as T5 has it, without the sentinels."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = PT.Sequence([PT.WhitespaceSplit(), PT.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=1500, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    vocab = json.loads(tokenizer.to_str())["model"]["vocab"]
    return [(piece, gguf.np.float32(score).item()) for piece, score in vocab]


@pytest.fixture(scope="module")
def pairs():
    """Tokens in the order of a small SentencePiece BPE, by id."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = PT.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<unk>", "<s>", "</s>", *BYTES], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    vocab = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.get)


def t5(unigram, blob):
    sentinels = [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    return transformers.T5Tokenizer(vocab=unigram + sentinels, _spm_precompiled_charsmap=blob)


def llama(pairs, **options):
    vocab = {token: i for i, token in enumerate(pairs)}
    return transformers.LlamaTokenizer(vocab=vocab, merges=generate_merges(vocab), **options)


def byte_level(pre_tokenizer):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=PT.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def split(regex):
    pattern = tokenizers.Regex(regex)
    return PT.Sequence(
        [PT.Split(pattern, "isolated"), PT.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def save(backend, folder):
    backend.save(str(folder / "tokenizer.json"))
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_t5(probe, tmp_path, texts, unigram, blob):
    t5(unigram, blob).save_pretrained(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    compare(probe, tmp_path, backend, tmp_path, texts)


def test_llama_with_normaliser(probe, tmp_path, texts, pairs):
    """Llama's and Vicuna's older tokenizer.json."""
    vocab = {token: i for i, token in enumerate(pairs)}
    backend = tokenizers.Tokenizer(
        models.BPE(vocab, generate_merges(vocab), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, texts)


def test_mistral(probe, tmp_path, texts, pairs):
    """LlamaTokenizer as transformers 5 builds it: Metaspace before the first word."""
    llama(pairs, add_bos_token=True).save_pretrained(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    compare(probe, tmp_path, backend, tmp_path, texts)


def test_qwen2(probe, tmp_path, texts):
    pre = transformers.Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    model = json.loads(byte_level(pre).to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = transformers.Qwen2Tokenizer(vocab=model["vocab"], merges=merges)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.save_pretrained(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    compare(probe, tmp_path, backend, tmp_path, texts)


def test_llama3(probe, tmp_path):
    backend = byte_level(split(LLAMA3))
    whole = json.loads(backend.to_str())
    whole["model"]["ignore_merges"] = True
    whole["model"]["vocab"]["Ġxyz"] = len(whole["model"]["vocab"])
    backend = tokenizers.Tokenizer.from_str(json.dumps(whole))
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, few(added(backend), 10000) + EXTRA)


@pytest.mark.parametrize("behavior,invert", [("isolated", False), ("removed", True)])
@pytest.mark.parametrize("regex", [O200K, TEKKEN, LLAMA3])
def test_splits_as_files_have_them(probe, tmp_path, regex, behavior, invert):
    """o200k (Phi-4-mini), tekken (Ministral 3) and Llama 3's (OLMo 2, SmolLM3), by either way of saying so."""
    pre = PT.Sequence([PT.Split(tokenizers.Regex(regex), behavior, invert),
                       PT.ByteLevel(add_prefix_space=False, use_regex=False)])
    backend = byte_level(pre)
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, few(["<|endoftext|>"], 5000) + EXTRA + CASED)


@pytest.mark.parametrize("regex", [O200K, TEKKEN])
def test_cased_splits_of_every_code_point(probe, tmp_path, texts, regex):
    backend = byte_level(split(regex))
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, texts + CASED)


def test_gemma(probe, tmp_path, texts, pairs):
    """GemmaTokenizer as transformers builds it: spaces are replaced, then there is nothing to split at."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + [t for t in pairs if t not in ("<unk>", "<s>", "</s>")]
    tokens += ["▁▁", "▁▁▁", "\n\n"]
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = transformers.GemmaTokenizer(vocab=vocab, merges=generate_merges(vocab))
    tokenizer.add_tokens([tokenizers.AddedToken(t, normalized=False, special=False) for t in ("▁▁", "\n\n")])
    tokenizer.save_pretrained(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert "MergedWithPrevious" in (tmp_path / "tokenizer.json").read_text()
    compare(probe, tmp_path, backend, tmp_path, texts + ["a  b   c", "\n\n\n x", "▁▁▁a"])
    probe("tokenize", "save", tmp_path, tmp_path / "saved")
    compare(probe, tmp_path, backend, tmp_path / "saved", few(["<eos>", "<mask>"]))


@pytest.mark.parametrize("prepend", ["always", "first", "never"])
@pytest.mark.parametrize("split_words", [True, False])
def test_metaspace(probe, tmp_path, unigram, blob, prepend, split_words):
    """Other arrangements of the same parts, with added tokens looked for after normalising."""
    backend = tokenizers.Tokenizer(models.Unigram(unigram, unk_id=2, byte_fallback=False))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Strip(prepend == "always", True)]
        + [normalizers.Replace(tokenizers.Regex(" {2,}"), "▁")]
    )
    backend.pre_tokenizer = PT.Metaspace(prepend_scheme=prepend, split=split_words)
    backend.decoder = decoders.Metaspace(prepend_scheme=prepend)
    backend.add_tokens([tokenizers.AddedToken("Cat", normalized=True), "<|im_end|>"])
    backend.add_special_tokens(["</s>"])
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, few(["</s>", "CAT", "<|im_end|>"]))


@pytest.mark.parametrize("fuse", [True, False])
def test_bytes_and_unknown_tokens(probe, tmp_path, pairs, unigram, fuse):
    """Characters of which some bytes have tokens, in both models."""
    kept = [token for token in pairs if token not in BYTES[0xE0:0xF0] and token not in "ab"]
    kept = [token for token in kept if token in BYTES or not set(token) & set("ab")]
    vocab = {token: i for i, token in enumerate(kept)}
    backend = tokenizers.Tokenizer(
        models.BPE(vocab, generate_merges(vocab), unk_token="<unk>", fuse_unk=fuse, byte_fallback=True)
    )
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Replace("▁", "_")])
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, few(["<unk>"]))
    scored = unigram + [(token, -20.0) for token in BYTES[: 256 if fuse else 200]]
    backend = tokenizers.Tokenizer(models.Unigram(scored, unk_id=2, byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Strip("▁", 2, 1)])
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, few(["<unk>"]))


def test_charsmap_over_graphemes(probe, tmp_path, unigram):
    """What follows or leads a character within one cluster goes with it: every code point."""
    rules = {"a": "X", "é": "Y", "ab": "Z", "\u0600": "W", "\r": "R", "\u05d0": "A"}
    known = {piece for piece, _ in unigram}
    scored = unigram + [(c, -3.0) for c in rules.values() if c not in known]
    backend = tokenizers.Tokenizer(models.Unigram(scored, unk_id=2))
    backend.normalizer = normalizers.Precompiled(charsmap(rules))
    points = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    points = [c for c in points if not 0x4E00 <= ord(c) < 0xD7FC and ord(c) < 0xF0000]
    texts = ["|".join(f"a{c}|é{c}|{c}a|\u0600{c}|a\u0301{c}" for c in points[i : i + 16]) for i in range(0, len(points), 16)]
    texts += ["\r\n", "a\r\na", "a\u0301\u0301\u0301b", "\u0600\u0600a\u0301", "e\u0301a\u200da"]
    compare(probe, tmp_path, save(backend, tmp_path), tmp_path, texts)


def test_spiece_model(probe, tmp_path, unigram, blob):
    types = {"<pad>": 3, "</s>": 3, "<unk>": 2}
    pieces = [(piece, score, types.get(piece, 1)) for piece, score in unigram]
    (tmp_path / "spiece.model").write_bytes(model_file(pieces, 1, 2, blob))
    backend = t5(unigram, blob).backend_tokenizer
    compare(probe, tmp_path, backend, tmp_path, few(SPECIALS))


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("legacy", [True, False, None])
def test_tokenizer_model(probe, tmp_path, pairs, prefix, legacy):
    types = {"<s>": 3, "</s>": 3, "<unk>": 2, **{byte: 6 for byte in BYTES}}
    pieces = [(piece, -i, types.get(piece, 1)) for i, piece in enumerate(pairs)]
    (tmp_path / "tokenizer.model").write_bytes(model_file(pieces, 2, 0))
    config = {"add_bos_token": True, "add_prefix_space": prefix, "legacy": legacy}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    backend = llama(pairs, **config).backend_tokenizer
    compare(probe, tmp_path, backend, tmp_path, few(SPECIALS))


def write_gguf(path, kind, tokens, types, scores=None, merges=None, pre=None):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model(kind)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    if scores:
        writer.add_token_scores(scores)
    if merges:
        writer.add_token_merges(merges)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_llama(probe, tmp_path, pairs):
    types = [2 if t == "<unk>" else 3 if t in ("<s>", "</s>") else 6 if t in BYTES else 1 for t in pairs]
    scores = [float(-(i // 3)) for i in range(len(pairs))]  # several of the same
    write_gguf(tmp_path / "m.gguf", "llama", pairs, types, scores)
    backend = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf").backend_tokenizer
    compare(probe, tmp_path, backend, tmp_path / "m.gguf", few(["<s>", "</s>"]))


@pytest.mark.parametrize("pre", ["llama-bpe", "qwen2", "smaug-bpe", "dbrx", "gpt-4o", "tekken"])
def test_gguf_byte_level(probe, tmp_path, pre):
    model = json.loads(byte_level(split(LLAMA3)).to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(merge) for merge in model["merges"]]
    write_gguf(tmp_path / "m.gguf", "gpt2", tokens, [3] + [1] * (len(tokens) - 1), None, merges, pre)
    backend = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf").backend_tokenizer
    compare(probe, tmp_path, backend, tmp_path / "m.gguf", few(["<|endoftext|>"]) + EXTRA + CASED)


@pytest.mark.parametrize("family", ["t5", "llama", "qwen2"])
def test_transformers_loads_what_is_saved(probe, tmp_path, unigram, blob, pairs, family):
    if family == "t5":
        reference = t5(unigram, blob)
    elif family == "llama":
        reference = llama(pairs, add_bos_token=True)
    else:
        reference = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(split(LLAMA3)))
    reference.save_pretrained(tmp_path)
    probe("tokenize", "save", tmp_path, tmp_path / "saved")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    texts = few(SPECIALS, 500)
    assert [loaded(t).input_ids for t in texts[:2000]] == [reference(t).input_ids for t in texts[:2000]]
    for role in ("bos", "eos", "pad", "unk"):
        assert getattr(loaded, f"{role}_token_id") == getattr(reference, f"{role}_token_id"), role
    compare(probe, tmp_path, loaded.backend_tokenizer, tmp_path / "saved", texts)

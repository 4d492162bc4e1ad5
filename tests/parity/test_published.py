"""Whole models of transformers' BLIP-2 classes: the same logits, tokens and scores, live.

Every family: tiny random models x pictures x prompts, f32, 32 greedy tokens and 32 tokens of beam 5.
"""

import copy
import json
import shutil
import statistics
import subprocess

import numpy
import pytest
import torch
import transformers
from PIL import Image
from published_models import (NEWER, QUERIES, SIZE, BlipImageProcessorPil, Published, load_speaker, load_strictly,
                              qformer_sizes, randomise, round_up, vision_config, word_tokenizer)
from safetensors.torch import load_file, save_file, save_model

FAMILIES = {
    "opt": dict(family="opt"),
    "gpt2": dict(family="gpt2"),
    "llama": dict(family="llama"),
    "qwen3": dict(family="qwen3"),
    "t5": dict(family="t5"),
    "instruct_t5": dict(family="t5", instructs=True, dense="gelu"),
    "instruct_llama": dict(family="llama", instructs=True),
}
MODELS, TOKENS = 4, 32
PROMPTS = ["", "Question: what is this? Short answer:", "a photo of"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("pictures"), numpy.random.default_rng(7)
    paths = []
    for i, (height, width) in enumerate([(40, 56), (28, 28)]):
        low = generator.integers(0, 256, (4, 5, 3), dtype=numpy.uint8)
        Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
    return paths


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """published(name, seed): a saved model of a family, made once."""
    root, made = tmp_path_factory.mktemp("models"), {}

    def make(name, seed=0):
        if (name, seed) not in made:
            kind = FAMILIES.get(name, {"family": name})
            made[name, seed] = Published(root / f"{name}{seed}", seed=seed, **kind)
        return made[name, seed]

    return make


@pytest.fixture
def answer(probe):
    """answer(jobs): what the program's models make of them, in one process."""

    def call(jobs):
        lines = probe("published", input="\n".join(json.dumps(job) for job in jobs) + "\n").splitlines()
        return [json.loads(line) for line in lines]

    return call


def job_of(model, images, prompts, precision="auto", **options):
    options = {"max_new_tokens": TOKENS} | options
    return {"model": str(model.folder), "images": [str(i) for i in images], "prompts": prompts,
            "options": options, "precision": precision}


def open_rgb(path):
    return Image.open(path).convert("RGB")


def check_logits(name, ours, theirs):
    """To rounding, which grows with the logits (here up to 30); a T5, whose attention is not scaled, has more
    of it: transformers' own in f32 are up to 1.4e-4 from those that it computes in f64."""
    error = (torch.tensor(ours) - theirs).abs().max().item()
    bound = 1e-4 if name.endswith("t5") else 1e-5
    assert error <= bound * max(1.0, theirs.abs().max().item()), error


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_and_scores(answer, published, pictures, name):
    assert MODELS * len(pictures) * len(PROMPTS) >= 20
    check_tokens(answer, published, pictures, name, MODELS)


@pytest.mark.parametrize("name", NEWER)
def test_tokens_and_scores_of_newer_language_models(answer, published, pictures, name):
    """Alone, tests/parity/test_language_families.py compares them."""
    check_tokens(answer, published, pictures, name, 1)


def check_tokens(answer, published, pictures, name, models):
    cases, jobs = [], []
    for seed in range(models):
        model = published(name, seed)
        cases += [(model, image, prompt) for image in pictures for prompt in PROMPTS]
        for beams in (1, 5):
            # All pictures and prompts of a model in one batch: each row must be as if alone.
            rows = [(image, prompt) for image in pictures for prompt in PROMPTS]
            jobs.append(job_of(model, *map(list, zip(*rows)), beams=beams, return_sequences=1 + (beams > 1)))
    ours = answer(jobs)
    greedy = [row for rows in ours[0::2] for row in rows]
    beam = [row for rows in ours[1::2] for row in rows]
    lengths = set()
    for (model, image, prompt), one, five in zip(cases, greedy, beam, strict=True):
        logits, [(tokens, _)] = model.generate(open_rgb(image), prompt, max_new_tokens=TOKENS)
        check_logits(name, one["logits"], logits)
        assert one["answers"][0]["tokens"] == tokens, (model.folder, prompt)
        lengths.add(len(tokens))
        _, best = model.generate(
            open_rgb(image), prompt, max_new_tokens=TOKENS, num_beams=5, num_return_sequences=2)
        assert [a["tokens"] for a in five["answers"]] == [tokens for tokens, _ in best], (model.folder, prompt)
        for ours_, (_, score) in zip(five["answers"], best):
            assert abs(ours_["score"] - score) <= 1e-4 * max(1.0, abs(score))
        text = model.processor.tokenizer.decode(best[0][0], skip_special_tokens=True).strip()
        assert five["answers"][0]["text"] == text
    assert TOKENS in lengths


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_answers_of_32_tokens(answer, published, pictures, name):
    model = published(name)
    rows = [(image, prompt) for image in pictures for prompt in PROMPTS]
    [ours] = answer([job_of(model, *map(list, zip(*rows)), min_new_tokens=TOKENS)])
    for row, (image, prompt) in zip(ours, rows, strict=True):
        _, [(tokens, _)] = model.generate(open_rgb(image), prompt, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
        assert row["answers"][0]["tokens"] == tokens and len(tokens) == TOKENS, prompt


@pytest.mark.parametrize("name", ["opt", "t5", "instruct_llama"])
def test_options(answer, published, pictures, name):
    """Repetition penalty (which counts the prompt), lengths and length penalty together."""
    model, prompt = published(name), PROMPTS[1]
    jobs, theirs = [], []
    for ours, options in [
        (dict(repetition_penalty=1.7), dict(repetition_penalty=1.7)),
        (dict(beams=3, repetition_penalty=1.3, length_penalty=-1.0, min_new_tokens=8),
         dict(num_beams=3, repetition_penalty=1.3, length_penalty=-1.0, min_new_tokens=8)),
    ]:
        jobs.append(job_of(model, pictures[:1], [prompt], **ours))
        theirs.append(model.generate(open_rgb(pictures[0]), prompt, max_new_tokens=TOKENS, **options)[1][0][0])
    assert [rows[0]["answers"][0]["tokens"] for rows in answer(jobs)] == theirs


@pytest.mark.parametrize("name", ["opt", "t5", "instruct_llama"])
def test_generation_config(build, published, pictures, tmp_path, name):
    """`generate` of these classes hands nothing of the outer generation_config.json to its language model, so that
    the program does not follow it either, and says so."""
    source, folder = published(name), tmp_path / "model"
    shutil.copytree(source.folder, folder)
    config = json.loads((folder / "generation_config.json").read_text())
    config |= {"no_repeat_ngram_size": 1, "num_beams": 4, "eos_token_id": [config["eos_token_id"], 3], "top_k": 50}
    (folder / "generation_config.json").write_text(json.dumps(config))
    theirs = load_speaker(folder, dtype=torch.float32)
    assert theirs.model.generation_config.no_repeat_ngram_size == 1
    _, [(tokens, _)] = theirs.generate(open_rgb(pictures[0]), PROMPTS[1], max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    assert len(set(tokens)) < TOKENS, "a guard against repeated tokens would show"
    done = subprocess.run(
        [build / "blip2", "caption", "--json", "--model", folder, "--prompt", PROMPTS[1], "--beams", "1",
         "--max-new-tokens", str(TOKENS), "--min-new-tokens", str(TOKENS), pictures[0]], capture_output=True, text=True)
    assert json.loads(done.stdout)["tokens"] == tokens
    [warning] = [line for line in done.stderr.splitlines() if "generation_config.json" in line]
    assert "no_repeat_ngram_size = 1" in warning and "num_beams = 4" in warning and "top_k" not in warning


@pytest.mark.parametrize("name", ["opt", "instruct_t5"])
def test_another_picture_size(answer, published, pictures, tmp_path, name):
    """That of the processor: the position embedding as interpolate_pos_encoding has it."""
    shutil.copytree(published(name).folder, tmp_path / "model")
    path = tmp_path / "model" / "processor_config.json"
    config = json.loads(path.read_text())
    config["image_processor"]["size"] = {"height": 70, "width": 70}
    path.write_text(json.dumps(config))
    model = load_speaker(tmp_path / "model")
    ours = answer([job_of(type("Folder", (), {"folder": tmp_path / "model"}), pictures, PROMPTS[1:], beams=beams,
                          min_new_tokens=TOKENS) for beams in (1, 5)])
    for beams, rows in zip((1, 5), ours, strict=True):
        for row, image, prompt in zip(rows, pictures, PROMPTS[1:], strict=True):
            logits, [(tokens, _)] = model.generate(
                open_rgb(image), prompt, interpolate_pos_encoding=True, num_beams=beams, max_new_tokens=TOKENS,
                min_new_tokens=TOKENS)
            assert model.inputs(open_rgb(image), prompt).pixel_values.shape[-1] == 70
            check_logits(name, row["logits"], logits)
            assert row["answers"][0]["tokens"] == tokens and len(tokens) == TOKENS


@pytest.mark.parametrize("name", ["opt", "instruct_t5"])
def test_a_batch_gives_what_its_pictures_alone_give(answer, published, pictures, name):
    model = published(name, 1)
    rows = [(image, prompt) for image in pictures for prompt in PROMPTS]
    together, *alone = answer(
        [job_of(model, *map(list, zip(*rows)), beams=5)]
        + [job_of(model, [image], [prompt], beams=5) for image, prompt in rows])
    assert together == [row for [row] in alone]  # logits and scores bit for bit


def save_retrieval_model(folder, seed, scheme):
    """With the old processor, or (`scheme`) with image tokens before the text."""
    folder.mkdir()
    words = word_tokenizer()
    images = BlipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    processor = transformers.Blip2Processor(images, words, num_query_tokens=QUERIES if scheme else None)
    config = transformers.Blip2Config(
        vision_config=vision_config(transformers.Blip2VisionConfig),
        qformer_config=transformers.Blip2QFormerConfig(
            **qformer_sizes(round_up(len(words))), use_qformer_text_input=True),
        num_query_tokens=QUERIES, image_text_hidden_size=16,
        image_token_index=words.convert_tokens_to_ids("<image>") if scheme else None)
    model = randomise(transformers.Blip2ForImageTextRetrieval(config), seed)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


@pytest.mark.parametrize("scheme", [False, True])
def test_matching(answer, tmp_path, pictures, scheme):
    """ITC and ITM; with the old processor, and with image tokens before the text."""
    cases = 0
    for seed in range(5):
        folder = tmp_path / f"model{seed}"
        model, processor = save_retrieval_model(folder, seed, scheme)
        texts = ["a photo of a cat", "what is this?", "red"]
        [ours] = answer([{"model": str(folder), "images": [str(p) for p in pictures], "texts": texts}])
        itc, itm = iter(ours["itc"]), iter(numpy.array(ours["itm"]).reshape(-1, 2))
        for image in pictures:
            for text in texts:
                inputs = processor(images=open_rgb(image), text=text, return_tensors="pt")
                with torch.no_grad():
                    cosine = model(**inputs).logits_per_image.item()
                    logits = model(**inputs, use_image_text_matching_head=True).logits_per_image[0]
                assert abs(next(itc) - cosine) <= 1e-5
                assert numpy.abs(next(itm) - logits.numpy()).max() <= 1e-4
                cases += 1
    assert cases >= 20


@pytest.fixture
def convert(build):
    def call(source, folder, *options):
        done = subprocess.run([build / "blip2", "convert", source, folder, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return folder

    return call


def weights_of(folder):
    merged = {}
    for path in sorted(folder.glob("*.safetensors")):
        merged |= load_file(path)
    return merged


def transformers_answers_alike(answer, folder, pictures):
    """From a directory alone, processor and all, its weights widened to f32: 32 tokens, greedy and of beam 5."""
    theirs = load_speaker(folder, dtype=torch.float32)
    for beams in (1, 5):
        ours = answer([job_of(type("Folder", (), {"folder": folder}), pictures, PROMPTS[:2], "f32", beams=beams,
                              min_new_tokens=TOKENS)])[0]
        for row, image, prompt in zip(ours, pictures, PROMPTS, strict=False):
            _, [(tokens, _)] = theirs.generate(
                open_rgb(image), prompt, num_beams=beams, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
            assert row["answers"][0]["tokens"] == tokens and len(tokens) == TOKENS


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_saved_is_loaded(answer, convert, published, tmp_path, pictures, name):
    """load -> save -> load is bit-identical, and transformers finds every tensor."""
    source = published(name)
    saved = convert(source.folder, tmp_path / "saved")
    before, after = weights_of(source.folder), weights_of(saved)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    again = convert(saved, tmp_path / "again")
    assert {p.name: p.read_bytes() for p in saved.iterdir() if p.is_file()} == {
        p.name: p.read_bytes() for p in again.iterdir() if p.is_file()}
    half = convert(source.folder, tmp_path / "half", "--weights", "bf16")
    for folder, dtype in ((saved, torch.float32), (half, torch.bfloat16)):
        assert load_strictly(type(source.model), folder, dtype="auto").language_projection.weight.dtype == dtype
    transformers_answers_alike(answer, half, pictures)
    stored = weights_of(half)
    assert stored["language_projection.weight"].dtype == torch.bfloat16
    assert stored["query_tokens"].dtype == torch.float32


@pytest.mark.parametrize("scheme", [False, True])
def test_a_saved_retrieval_model_is_loaded(convert, tmp_path, scheme):
    save_retrieval_model(tmp_path / "source", 0, scheme)
    saved = convert(tmp_path / "source", tmp_path / "saved")
    before, after = weights_of(tmp_path / "source"), weights_of(saved)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    load_strictly(transformers.Blip2ForImageTextRetrieval, saved)


def write_weights_as(kind, source, folder):
    """A copy of a model's directory whose weights lie in shards or archives, or in half precision."""
    shutil.copytree(source.folder, folder)
    (folder / "model.safetensors").unlink()
    if kind == "shards":
        source.model.save_pretrained(folder, max_shard_size="40KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 2
    elif kind == "bin":
        state = source.model.state_dict()
        names = sorted(state)
        halves = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
        for file, part in halves.items():
            torch.save({name: state[name].clone() for name in part}, folder / file)
        (folder / "pytorch_model.bin.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": {n: f for f, part in halves.items() for n in part}}))
    else:
        dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[kind]
        copy.deepcopy(source.model).to(dtype).save_pretrained(folder)


@pytest.mark.parametrize("name, kind", [("gpt2", "shards"), ("llama", "bin"), ("instruct_t5", "bf16"), ("opt", "f16")])
def test_other_files_are_saved_bit_for_bit(convert, published, tmp_path, name, kind):
    source = published(name)
    write_weights_as(kind, source, tmp_path / "model")
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(kind, torch.float32)
    expected = {key: value.to(dtype) for key, value in weights_of(source.folder).items()}
    saved = convert(tmp_path / "model", tmp_path / "saved")
    again = convert(saved, tmp_path / "again")
    for folder in (saved, again):
        tensors = weights_of(folder)
        assert tensors.keys() == expected.keys()
        assert all(tensors[k].dtype == dtype and torch.equal(tensors[k], expected[k]) for k in expected)
    load_strictly(type(source.model), saved)


@pytest.mark.parametrize("kind", ["shards", "bin", "old"])
def test_other_files(answer, published, tmp_path, pictures, kind):
    """Shards, PyTorch archives, and the files of transformers 4: the same answers."""
    source = published("opt")
    folder = tmp_path / "model"
    if kind != "old":
        write_weights_as(kind, source, folder)
    else:
        shutil.copytree(source.folder, folder)
        config = json.loads((folder / "config.json").read_text())
        config |= {"torch_dtype": "float32", "transformers_version": None, "is_encoder_decoder": False,
                   "_commit_hash": None, "tie_word_embeddings": False}
        config["image_token_id"] = config.pop("image_token_index")
        generic = {"_name_or_path": "", "add_cross_attention": False, "architectures": None, "top_k": 50, "typical_p": 1.0,
                   "num_beams": 1, "length_penalty": 1.0, "tf_legacy_loss": False, "torchscript": False, "max_length": 20}
        for part in ("vision_config", "qformer_config", "text_config"):
            config[part] = generic | config[part]
        config["vision_config"].pop("model_type")
        config["qformer_config"].pop("use_qformer_text_input")
        (folder / "config.json").write_text(json.dumps(config))
        processor = json.loads((folder / "processor_config.json").read_text())
        (folder / "processor_config.json").unlink()
        (folder / "preprocessor_config.json").write_text(json.dumps(processor["image_processor"]))
    changed = type("Folder", (), {"folder": folder})
    [one], [other] = answer([job_of(m, pictures[:1], PROMPTS[1:2], beams=5) for m in (source, changed)])
    assert one == other


def old_tensors(name, state):
    """What files of 2023 hold beside the weights: buffers, and tied embeddings once more."""
    layers = [f"language_model.model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(2)]
    return {
        "opt": {"language_model.lm_head.weight": state.get("language_model.model.decoder.embed_tokens.weight")},
        "gpt2": {"language_model.transformer.h.0.attn.bias": torch.ones(1, 1, 96, 96, dtype=torch.uint8),
                 "language_model.transformer.h.0.attn.masked_bias": torch.tensor(-1e4)},
        "t5": {f"language_model.{side}.embed_tokens.weight": state.get("language_model.shared.weight")
               for side in ("encoder", "decoder")},
        "instruct_llama": {layer: torch.rand(4) for layer in layers},
    }[name] | {"qformer.embeddings.position_ids": torch.arange(48)[None]}


@pytest.mark.parametrize("name", ["opt", "gpt2", "t5", "instruct_llama"])
def test_old_tensors(answer, convert, published, tmp_path, pictures, name):
    """They change nothing, and what is saved lacks them."""
    source = published(name)
    folder = tmp_path / "model"
    shutil.copytree(source.folder, folder)
    state = weights_of(folder)
    old = old_tensors(name, state)
    assert not set(old) & set(state)
    save_file({k: v.clone() for k, v in (state | old).items()}, folder / "model.safetensors", {"format": "pt"})
    changed = type("Folder", (), {"folder": folder})
    [one], [other] = answer([job_of(m, pictures[:1], PROMPTS[1:2], beams=5) for m in (source, changed)])
    assert one == other
    saved = weights_of(convert(folder, tmp_path / "saved"))
    assert saved.keys() == state.keys() and all(torch.equal(saved[key], state[key]) for key in state)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_floats_are_widened(answer, published, pictures, tmp_path, dtype):
    source = published("llama")
    folders = {}
    for kind in ("eight", "wide"):
        folders[kind] = type("Folder", (), {"folder": tmp_path / kind})
        shutil.copytree(source.folder, tmp_path / kind)
        state = {name: value.to(dtype) for name, value in weights_of(source.folder).items()}
        if kind == "wide":
            state = {name: value.float() for name, value in state.items()}
        save_file(state, tmp_path / kind / "model.safetensors", {"format": "pt"})
    [one], [other] = answer([job_of(m, pictures[:1], PROMPTS[1:2], "f32") for m in folders.values()])
    assert one == other


@pytest.mark.parametrize("name", ["opt", "gpt2", "t5"])
def test_tied_embeddings_under_another_name(answer, convert, published, tmp_path, pictures, name):
    """As safetensors.torch.save_model writes a model: the same answers; what is saved has the usual names."""
    source = published(name)
    folder = tmp_path / "model"
    shutil.copytree(source.folder, folder)
    save_model(source.model, folder / "model.safetensors")
    state, usual = weights_of(folder), weights_of(source.folder)
    assert set(usual) - set(state)
    changed = type("Folder", (), {"folder": folder})
    [one], [other] = answer([job_of(m, pictures[:1], PROMPTS[1:2], beams=5) for m in (source, changed)])
    assert one == other
    saved = weights_of(convert(folder, tmp_path / "saved"))
    assert saved.keys() == usual.keys() and all(torch.equal(saved[key], usual[key]) for key in usual)


@pytest.mark.parametrize("name, precision", [("opt", "bf16"), ("t5", "bf16"), ("opt", "f16"), ("llama", "f16")])
def test_half_precision_is_as_close_as_transformers_is(answer, published, pictures, name, precision):
    """The first token's logits in bf16 or f16: as near to f32's as those of transformers in that type.

    How near depends on the weights and on the kernels' order of sums, in single cases by a factor of
    ten; medians of many cases are steady.
    """
    cases = [(image, prompt) for image in pictures for prompt in PROMPTS]
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[precision]
    ours, theirs = [], []
    for seed in range(MODELS):
        model = published(name, seed)
        half = type(model.model).from_pretrained(model.folder, dtype=dtype).eval()
        [rows] = answer([job_of(model, *map(list, zip(*cases)), precision=precision, max_new_tokens=1)])
        for row, (image, prompt) in zip(rows, cases, strict=True):
            exact, _ = model.generate(open_rgb(image), prompt, max_new_tokens=1)
            rounded, _ = model.generate(open_rgb(image), prompt, half, max_new_tokens=1)
            ours.append(distance(torch.tensor(row["logits"]), exact))
            theirs.append(distance(rounded.float(), exact))
    assert 0 < statistics.median(ours) <= 2 * statistics.median(theirs)


def distance(some, others):
    return 1 - torch.cosine_similarity(some.double(), others.double(), dim=0).item()

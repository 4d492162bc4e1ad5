"""LAVIS checkpoints converted: the features, scores, logits and tokens of the model that saved them.

The models have LAVIS's names and are written from its module definitions (lavis_reference.py).
"""

import copy
import json
import pathlib
import shutil
import subprocess

import lavis_reference as lavis
import measured
import numpy
import pytest
import torch
import transformers
from PIL import Image
from published_models import (BlipImageProcessorPil, byte_level_tokenizer, llama_tokenizer, load_speaker,
                              load_strictly, randomise, round_up, t5_tokenizer, text_config, threads, untie,
                              word_tokenizer)
from safetensors.torch import load_file

SIZE = 28
TEXTS = ["a red circle", "what is this?", "a photo of a cat and a dog"]
PROMPT = "Question: what is this? Short answer:"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threads(1):
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("pictures"), numpy.random.default_rng(3)
    paths = [folder / f"{i}.png" for i in range(3)]
    for path in paths:
        low = Image.fromarray(draw.integers(0, 256, (4, 5, 3), dtype=numpy.uint8))
        low.resize((50, 40), Image.Resampling.BICUBIC).save(path)
    return paths


@pytest.fixture(scope="module")
def pixels(pictures):
    return pixels_of(pictures, SIZE)


def pixels_of(pictures, size):
    processor = BlipImageProcessorPil(size={"height": size, "width": size})
    images = [Image.open(path).convert("RGB") for path in pictures]
    return processor(images, return_tensors="pt").pixel_values


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """BERT's tokenizer and its directory, without [DEC]."""
    folder, tokenizer = tmp_path_factory.mktemp("bert"), word_tokenizer()
    tokenizer.save_pretrained(folder)
    return tokenizer, folder


@pytest.fixture(scope="module")
def run(build):
    def call(*args, code=0):
        done = subprocess.run([build / "blip2", *map(str, args)], capture_output=True, text=True)
        assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stderr[-3000:]}"
        return done.stderr if code else done.stdout

    return call


@pytest.fixture
def answer(probe):
    def call(job):
        return json.loads(probe("published", input=json.dumps(job) + "\n"))

    return call


def encoder(kind):
    if kind == "eva":
        return lavis.EvaVisionTransformer(SIZE, 14, 176, 2, 200, 2)
    return lavis.ClipVisionTransformer(SIZE, 14, 128, 2, 2)


def sizes_of(words, visual):
    return lavis.Sizes(words=len(words) + 1, image_width=visual.num_features)


def near(ours, theirs, bound=1e-4):
    theirs = theirs.detach()
    error = (torch.as_tensor(ours).reshape(theirs.shape) - theirs).abs().max().item()
    assert error <= bound * max(1.0, theirs.abs().max().item()), error


@pytest.fixture(scope="module", params=["eva inside", "eva beside", "eva own", "clip inside"])
def stage1(request, run, words, tmp_path_factory):
    """The model, and the directory that its checkpoint became."""
    kind, place = request.param.split()
    folder, visual = tmp_path_factory.mktemp("stage1"), encoder(kind)
    model = lavis.Blip2Qformer(sizes_of(words[0], visual), visual).eval()
    lavis.randomise(model, seed=len(request.param))
    beside = []
    if place == "beside":
        torch.save(visual.state_dict(), folder / "eva_vit_g.pth")
        beside = ["--image-encoder", folder / "eva_vit_g.pth"]
    lavis.save(model, folder / "ck.pth", ["visual_encoder."] if beside else [])
    if place == "own":
        beside = ["--own-layout"]
    run("convert", folder / "ck.pth", folder / "model", "--text-encoder", words[1], *beside)
    return request.param, model, folder / "model"


def encoded(words, texts):
    batch = words[0](texts, padding=True, return_tensors="pt")
    return batch.input_ids, batch.attention_mask


def test_stage1_features_contrast_and_matching(stage1, answer, words, pictures, pixels):
    _, model, folder = stage1
    ids, mask = encoded(words, TEXTS)
    with torch.no_grad():
        image = model.see(pixels)
        vectors, texts = model.image_features(image), model.text_features(ids, mask)
        matched = torch.stack([model.match(i.expand(len(ids), -1, -1), ids, mask) for i in image])
    ours = answer({"model": str(folder), "images": [str(p) for p in pictures], "texts": TEXTS})
    near(ours["image_embeds"], vectors)
    near(ours["text_embeds"], texts)
    near(ours["itc"], torch.einsum("iqe,te->itq", vectors, texts).amax(-1))
    near(torch.tensor(ours["itm"]).reshape(*matched.shape, 2).softmax(-1)[..., 1], matched)


def test_stage1_at_another_size(stage1, answer, words, pictures, tmp_path, size=70):
    """The position embedding resized as LAVIS does for each encoder: CLIP's with its corners kept."""
    _, model, folder = stage1
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": {"height": size, "width": size}}))
    model = copy.deepcopy(model)
    ours = answer({"model": str(tmp_path / "model"), "images": [str(p) for p in pictures], "texts": TEXTS[:1]})
    with torch.no_grad():
        model.resize(size)
        near(ours["image_embeds"], model.image_features(model.see(pixels_of(pictures, size))))


def test_stage1_keeps_what_only_training_needs(stage1):
    name, model, folder = stage1
    file = folder / "model-bridge.safetensors"
    assert file.exists() == (name in ("eva own", "clip inside"))
    if file.exists():
        tensors = load_file(file)
        assert torch.equal(tensors["temperature"], model.temp)
        head = model.Qformer.cls.predictions.transform.dense.weight
        assert torch.equal(tensors["cls.predictions.transform.dense.weight"], head)


def test_extracted_features(stage1, run, words, pictures, pixels, tmp_path):
    """embed --mode image, text, multimodal: hidden states as LAVIS's extract_features has them."""
    _, model, folder = stage1
    ids, mask = encoded(words, TEXTS)
    (tmp_path / "texts.txt").write_text("".join(text + "\n" for text in TEXTS))

    def embed(mode, *args):
        run("embed", "--model", folder, "--mode", mode, "--output", tmp_path / mode, *args)
        return load_file(tmp_path / mode)

    texts = ["--texts", tmp_path / "texts.txt"]
    image, text = embed("image", *pictures), embed("text", *texts)
    both = embed("multimodal", *texts, *pictures)
    with torch.no_grad():
        seen = model.see(pixels)
        near(image["image_hidden"], model.look(seen))
        near(image["image_embeds"], model.image_features(seen))
        near(both["multimodal_embeds"], model.look(seen, ids, mask))
        hidden = model.Qformer.bert(ids=ids, mask=mask)
        near(text["text_hidden"], hidden * mask[..., None])
        near(text["text_embeds"], model.text_features(ids, mask))
    assert text["text_lengths"].tolist() == mask.sum(1).tolist()
    message = run("embed", "--model", folder, "--mode", "multimodal", "--output", tmp_path / "x", *texts,
                  pictures[0], code=1)
    assert "1 pictures and 3 texts" in message


def test_transformers_loads_stage1(stage1, words, pixels):
    name, model, folder = stage1
    if not name.startswith("eva ") or name == "eva own":
        assert "stage1_heads" in json.loads((folder / "config.json").read_text())
        return
    theirs = load_strictly(transformers.Blip2ForImageTextRetrieval, folder)
    ids, mask = encoded(words, TEXTS)
    with torch.no_grad():
        out = theirs(pixel_values=pixels, input_ids=ids, attention_mask=mask, use_image_text_matching_head=True)
        near(out.logits_per_image.softmax(-1)[:, 1], model.match(model.see(pixels), ids, mask))


LANGUAGES = {
    "opt": ("opt", "opt", False),
    "t5": ("t5", "t5", False),
    "vicuna": ("llm", "llama", False),
    "t5_instruct": ("t5", "t5", True),
    "vicuna_instruct": ("llm", "llama", True),
}


class Stage2:
    def __init__(self, folder, name, words):
        self.kind, self.family, self.instructs = LANGUAGES[name]
        self.folder, self.words = folder, words[0]
        makers = {"t5": t5_tokenizer, "llama": llama_tokenizer, "opt": byte_level_tokenizer}
        self.tokenizer = makers[self.family]()
        config = text_config(self.family, round_up(len(self.tokenizer)) + 8)
        if self.family == "llama":
            config.eos_token_id = 2  # </s>, as LAVIS takes for granted
        self.language = randomise(transformers.AutoModelForCausalLM.from_config(config) if self.family != "t5"
                                  else untie(transformers.T5ForConditionalGeneration(config)), len(name))
        self.language.save_pretrained(folder / "language")
        self.tokenizer.save_pretrained(folder / "language")
        if self.family == "t5":  # LAVIS replaces the activation of the published model
            changed = transformers.T5Config.from_pretrained(folder / "language", dense_act_fn="gelu")
            self.language = transformers.T5ForConditionalGeneration.from_pretrained(
                folder / "language", config=changed).eval()
        visual = encoder("eva")
        self.model = lavis.Blip2Language(sizes_of(self.words, visual), visual, self.kind, self.language,
                                         text=self.instructs).eval()
        lavis.randomise(self.model, seed=len(name))
        torch.save(visual.state_dict(), folder / "eva_vit_g.pth")
        lavis.save(self.model, folder / "ck.pth", ["visual_encoder.", f"{self.kind}_model."])
        self.beside = ["--image-encoder", folder / "eva_vit_g.pth", "--language-model", folder / "language"]
        if self.instructs:
            self.beside += ["--text-encoder", words[1]]

    def ids(self, prompt):
        ids = self.tokenizer(prompt, return_tensors="pt").input_ids
        if self.family == "llama":
            ids[:, 0] = 2  # LAVIS's bos_token is </s>
        return ids

    def generate(self, pixels, prompt, **options):
        """First logits and new tokens of one picture."""
        text = (self.words(prompt, return_tensors="pt") if self.instructs else None)
        with torch.no_grad():
            seen = self.model.see(pixels[None])
            soft = (self.model.prompts(seen, text.input_ids, text.attention_mask) if self.instructs
                    else self.model.prompts(seen))
            embeds = torch.cat([soft, self.language.get_input_embeddings()(self.ids(prompt))], dim=1)
            out = self.language.generate(
                inputs_embeds=embeds, attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
                eos_token_id=self.end(), return_dict_in_generate=True, output_logits=True, do_sample=False,
                **options)
        tokens = out.sequences[0].tolist()[self.family == "t5":]
        return out.logits[0][0], tokens[: tokens.index(self.end()) + 1] if self.end() in tokens else tokens

    def end(self):
        if self.family == "opt":
            return self.tokenizer("\n", add_special_tokens=False).input_ids[0]
        return self.language.config.eos_token_id


@pytest.fixture(scope="module", params=LANGUAGES)
def stage2(request, run, words, tmp_path_factory):
    made = Stage2(tmp_path_factory.mktemp(request.param), request.param, words)
    run("convert", made.folder / "ck.pth", made.folder / "model", *made.beside)
    return made


def test_stage2_logits_and_tokens(stage2, answer, pictures, pixels):
    prompts = [PROMPT, "a photo of", PROMPT]
    for beams in (1, 5):
        rows = answer({"model": str(stage2.folder / "model"), "images": [str(p) for p in pictures],
                       "prompts": prompts, "options": {"max_new_tokens": 24, "beams": beams}})
        for row, picture, prompt in zip(rows, pixels, prompts, strict=True):
            logits, tokens = stage2.generate(picture, prompt, max_new_tokens=24, num_beams=beams)
            near(torch.tensor(row["logits"])[: len(logits)], logits)
            assert row["answers"][0]["tokens"] == tokens


def test_transformers_answers_alike(stage2, answer, pictures):
    """From the directory alone, processor and all: 32 tokens, greedy and of beam 5."""
    folder = stage2.folder / "model"
    theirs = load_speaker(folder, queries=stage2.model.query_tokens.shape[1])
    assert theirs.instructs == stage2.instructs
    prompts = [PROMPT, "a photo of", PROMPT]
    for beams in (1, 5):
        rows = answer({"model": str(folder), "images": [str(p) for p in pictures], "prompts": prompts,
                       "options": {"max_new_tokens": 32, "min_new_tokens": 32, "beams": beams}})
        for row, picture, prompt in zip(rows, pictures, prompts, strict=True):
            _, [(tokens, _)] = theirs.generate(Image.open(picture).convert("RGB"), prompt, num_beams=beams,
                                               max_new_tokens=32, min_new_tokens=32)
            assert row["answers"][0]["tokens"] == tokens and len(tokens) == 32


def test_a_fine_tuned_checkpoint_has_its_parts_inside(stage2, run, tmp_path):
    """Of the language model only its configuration and its tokenizer stand beside."""
    lavis.save(stage2.model, tmp_path / "whole.pth")
    if stage2.family == "llama":  # as transformers of its time saved it
        state = torch.load(tmp_path / "whole.pth")
        state["model"]["llm_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.rand(4)
        torch.save(state, tmp_path / "whole.pth")
    shutil.copytree(stage2.folder / "language", tmp_path / "texts", ignore=shutil.ignore_patterns("*.safetensors"))
    run("convert", tmp_path / "whole.pth", tmp_path / "model", "--language-model", tmp_path / "texts",
        *stage2.beside[4:])
    files = [{p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
             for folder in (stage2.folder / "model", tmp_path / "model")]
    assert files[0] == files[1] and pathlib.Path("model.safetensors") in files[0]


def test_parts_named_in_a_file(stage2, run, tmp_path):
    lines = ['checkpoint = "ck.pth"', 'image_encoder = "eva_vit_g.pth"', 'language_model = "language"']
    if stage2.instructs:
        lines.append(f'text_encoder = "{stage2.beside[-1]}"')
    (stage2.folder / "parts.toml").write_text("\n".join(lines) + "\n")
    run("convert", stage2.folder / "parts.toml", tmp_path / "model")
    ours, again = (load_file(f / "model.safetensors") for f in (stage2.folder / "model", tmp_path / "model"))
    assert ours.keys() == again.keys() and all(torch.equal(ours[key], again[key]) for key in ours)


def test_errors_say_which_part_to_give(stage2, build, tmp_path):
    checkpoint, target = stage2.folder / "ck.pth", stage2.beside
    good = measured.peak_of([build / "blip2", "convert", checkpoint, tmp_path / "good", *target])

    def refusal(*args):
        return measured.refusal([build / "blip2", "convert", *args, tmp_path / "model"], good)

    assert "--image-encoder" in refusal(checkpoint, *target[2:])
    assert "--language-model" in refusal(checkpoint, *target[:2], *target[4:])
    if stage2.instructs:
        assert "--text-encoder" in refusal(checkpoint, *target[:4])
    shutil.copytree(stage2.folder / "language", tmp_path / "wide")
    config = json.loads((tmp_path / "wide" / "config.json").read_text())
    (tmp_path / "wide" / "config.json").unlink()
    assert "config.json" in refusal(checkpoint, *target[:2], "--language-model", tmp_path / "wide", *target[4:])
    assert config
    torch.save(encoder("clip").state_dict(), tmp_path / "other.pth")
    message = refusal(checkpoint, "--image-encoder", tmp_path / "other.pth", *target[2:])
    assert "176 wide" in message and "128" in message
    assert not (tmp_path / "model").exists()

"""Models trained here, converted: transformers finds every tensor and gives the same tokens and scores."""

import json
import pathlib
import sys

import pytest
import torch
import transformers
from mini_model import write_text_encoder
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))
import published_models as published  # noqa: E402

PROMPT = "Question: what is this? Short answer:"
TOKENS = 32
TOKENIZERS = {"llama": published.llama_tokenizer, "t5": published.t5_tokenizer, "opt": published.byte_level_tokenizer,
              "gpt2": published.byte_level_tokenizer}
KINDS = ["llama", "t5", "opt", "gpt2", "instructed llama", "instructed t5"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with published.threads(1):
        yield


@pytest.fixture(scope="module")
def untrained(run, tmp_path_factory):
    """untrained(family): an EVA-CLIP vision transformer, a BERT and a language model (or none), each as small
    as can be; the word embeddings have exactly the tokenizer's rows, so that <image> needs another."""
    root, made = tmp_path_factory.mktemp("parts"), {}
    torch.manual_seed(0)
    transformers.Blip2VisionModel(published.vision_config(
        transformers.Blip2VisionConfig, initializer_range=0.1)).save_pretrained(root / "eva")
    write_text_encoder(root / "bert")

    def write_language(family):
        tokenizer = TOKENIZERS[family]()
        tokenizer.save_pretrained(root / family)
        config = published.text_config(family, len(tokenizer))
        kind = transformers.T5ForConditionalGeneration if family == "t5" else transformers.AutoModelForCausalLM
        language = published.untie(kind(config)) if family == "t5" else kind.from_config(config)
        published.randomise(language, seed=1)
        with torch.no_grad():  # <image> becomes a copy of <unk> (or of <pad>), which no model would generate
            quiet = tokenizer.pad_token_id if tokenizer.unk_token_id is None else tokenizer.unk_token_id
            language.get_output_embeddings().weight[quiet] = 0
        language.save_pretrained(root / family)
        return f'language_model = "{family}"\n'

    def make(family):
        if family not in made:
            language = write_language(family) if family != "none" else ""
            (root / f"{family}.toml").write_text(
                f'{language}image_encoder = "eva"\ntext_encoder = "bert"\nnum_query_tokens = 4\n'
                "image_text_hidden_size = 16\nseed = 1\n")
            run("convert", root / f"{family}.toml", root / f"{family}_model", "--weights", "f32")
            made[family] = root / f"{family}_model"
        return made[family]

    return make


def settings(*pairs):
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.fixture(scope="module")
def trained(run, untrained, pictures, tmp_path_factory):
    """trained(kind): a model after one step of stage 1 ("stage1") or 2, large enough to be seen."""
    root = tmp_path_factory.mktemp("trained")

    def make(kind):
        stage, folder = 1 if kind == "stage1" else 2, root / kind.replace(" ", "_")
        if not folder.exists():
            init = untrained("none" if stage == 1 else kind.split()[-1])
            run("train", ROOT / "recipes" / f"tiny_stage{stage}.toml", "--output", folder, "--threads", 1, *settings(
                f"init={init}", f"data.train={pictures / 'my.jsonl'}", "steps=1", "batch_size=4", "data.views=1",
                "schedule.warmup_steps=0", "optimizer.lr=1e-2", "data.features=live",
                *([f"prompt.to_qformer={str(kind.startswith('instructed')).lower()}"] if stage == 2 else [])))
        return folder

    return make


@pytest.fixture(scope="module")
def picture(pictures):
    return sorted(pictures.glob("*.png"))[0]


@pytest.mark.parametrize("weights", ["f32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_answers(run, run_json, trained, picture, tmp_path, kind, weights):
    run("convert", trained(kind), tmp_path / "model", "--weights", weights)
    model = published.load_speaker(tmp_path / "model", dtype=torch.float32)
    assert model.instructs == kind.startswith("instructed")
    assert len(model.processor.tokenizer) == model.model.get_output_embeddings().weight.shape[0]
    image = Image.open(picture).convert("RGB")
    for beams, prompt in ((1, PROMPT), (5, "a photo of")):
        [ours] = run_json("caption", "--model", tmp_path / "model", "--precision", "f32", "--beams", beams, "--prompt",
                          prompt, "--max-new-tokens", TOKENS, "--min-new-tokens", TOKENS, picture)
        _, [(tokens, score)] = model.generate(
            image, prompt, num_beams=beams, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
        assert ours["tokens"] == tokens and len(tokens) == TOKENS
        assert beams == 1 or ours["score"] == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("weights", ["f32", "bf16"])
def test_matching(run, run_json, trained, picture, tmp_path, weights):
    run("convert", trained("stage1"), tmp_path / "model", "--weights", weights)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["architectures"] == [
        "Blip2ForImageTextRetrieval"]
    model = published.load_strictly(transformers.Blip2ForImageTextRetrieval, tmp_path / "model", dtype=torch.float32)
    processor = transformers.Blip2Processor.from_pretrained(tmp_path / "model")
    for text in ("a red circle", "what color is it?"):
        [ours] = run_json("match", "--model", tmp_path / "model", "--precision", "f32", "--text", text, picture)
        inputs = processor(images=Image.open(picture).convert("RGB"), text=text, return_tensors="pt")
        with torch.no_grad():
            cosine = model(**inputs).logits_per_image.item()
            matched = model(**inputs, use_image_text_matching_head=True).logits_per_image.softmax(-1)[0, 1].item()
        assert ours["itc"] == pytest.approx(cosine, abs=1e-5) and ours["itm"] == pytest.approx(matched, abs=1e-5)

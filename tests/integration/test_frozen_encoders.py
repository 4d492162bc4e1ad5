"""Other image encoders from their Hugging Face directories: assembled, trained on, matched with."""

import json
import math
import pathlib
import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from mini_model import write_text_encoder
from PIL import Image
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14)
KINDS = {
    "siglip_vision_model": (hf.SiglipVisionModel, hf.SiglipVisionConfig(intermediate_size=48, **SIZES), 28, 4),
    "dinov2": (hf.Dinov2Model, hf.Dinov2Config(**SIZES), 28, 5),
    "dinov2_with_registers": (hf.Dinov2WithRegistersModel, hf.Dinov2WithRegistersConfig(**SIZES), 28, 9),
    "dinov3_vit": (hf.DINOv3ViTModel, hf.DINOv3ViTConfig(
        intermediate_size=48, num_register_tokens=2, use_gated_mlp=True, hidden_act="silu", **SIZES), 28, 7),
    "aimv2_vision_model": (hf.Aimv2VisionModel, hf.Aimv2VisionConfig(intermediate_size=48, **SIZES), 28, 4),
    "resnet": (hf.ResNetModel, hf.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[1, 1, 1]),
               224, 196),
}


def write_parts(folder, kind, config, processor):
    """An image encoder with weights that matter, words, and the file that names them."""
    torch.manual_seed(3)
    model = kind(config)
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1:
                value.normal_(0, 2 / value[0].numel() ** 0.5)
    model.save_pretrained(folder / "encoder")
    (folder / "encoder" / "preprocessor_config.json").write_text(json.dumps(processor))
    write_text_encoder(folder / "bert")
    (folder / "parts.toml").write_text('image_encoder = "encoder"\ntext_encoder = "bert"\nnum_query_tokens = 4\n'
                                       "image_text_hidden_size = 16\nseed = 1\n")


@pytest.fixture(params=KINDS)
def parts(request, tmp_path):
    kind, config, size, _ = KINDS[request.param]
    processor = {"size": {"height": size, "width": size}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    write_parts(tmp_path, kind, config, processor)
    return request.param, tmp_path


def test_assembled_trained_and_matched(parts, run, run_json, pictures):
    kind, folder = parts
    _, _, size, positions = KINDS[kind]
    run("convert", folder / "parts.toml", folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["vision_config"]["model_type"] == kind and config["qformer_config"]["encoder_hidden_size"] == 32
    settings = [f"init={folder / 'model'}", f"data.train={pictures / 'my.jsonl'}", f"data.cache={folder / 'features'}",
                "steps=1", "batch_size=8", "data.views=1", "schedule.warmup_steps=0", "optimizer.lr=1e-2",
                "log_every=1"]
    run("train", ROOT / "recipes" / "tiny_stage1.toml", "--output", folder / "run", "--threads", 1,
        *(word for setting in settings for word in ("--set", setting)))
    [line] = [line for line in map(json.loads, (folder / "run" / "log.jsonl").open()) if "loss" in line]
    # An untrained model guesses: among the batch's 8 pictures, between two, among the tokenizer's words.
    words = json.loads((folder / "model" / "config.json").read_text())["qformer_config"]["vocab_size"]
    for name, choices in (("itc", 8), ("itm", 2), ("itg", words)):
        assert line[name] == pytest.approx(math.log(choices), rel=0.35), (name, line[name])
    assert line["loss"] == pytest.approx(line["itc"] + line["itm"] + line["itg"], rel=1e-4)
    assert (folder / "run" / "model-vision.safetensors").read_bytes() == (
        folder / "model" / "model-vision.safetensors").read_bytes()
    [cache] = (folder / "features").iterdir()  # a row a picture, of all positions, in 2 or 4 bytes a number
    row = (cache / "rows.bin").stat().st_size / 24 / positions / 32
    assert row in (2, 4)
    images = sorted(pictures.glob("*circle_4.png"))
    [line] = run_json("preprocess", "--model", folder / "run", images[0], "--output", folder / "p.safetensors")
    assert line["shape"] == [1, 3, size, size]
    options = ("--text", "a red circle", *images)
    before, after = ([line["itc"] for line in run_json("match", "--model", folder / name, *options)]
                     for name in ("model", "run"))
    assert len(set(after)) == len(images) and all(-1 <= value <= 1 for value in after)
    assert all(one != other for one, other in zip(before, after, strict=True))


ASPECTS = [(60, 60), (90, 30), (25, 100), (44, 33), (8, 130), (120, 100), (70, 10), (50, 75)]
MOST = 6  # patches of a picture


@pytest.fixture(scope="module")
def any_aspect(tmp_path_factory, run):
    """A model on SigLIP 2's NaFlex, with pictures of every aspect."""
    folder = tmp_path_factory.mktemp("any_aspect")
    sizes = {name: value for name, value in SIZES.items() if name != "image_size"}
    config = hf.Siglip2VisionConfig(intermediate_size=48, num_patches=16, **sizes)
    processor = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 14, "max_num_patches": MOST}
    write_parts(folder, hf.Siglip2VisionModel, config, processor)
    run("convert", folder / "parts.toml", folder / "model")
    rng = np.random.default_rng(4)
    words = ["red", "blue", "green", "white", "black", "round", "square", "thin"]
    with open(folder / "data.jsonl", "w") as data:
        for number, (size, word) in enumerate(zip(ASPECTS, words)):
            noise = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{number}.png")
            data.write(json.dumps({"image": f"{number}.png", "caption": f"a {word} picture"}) + "\n")
    return folder


def steps_of(folder, run, name, *more):
    settings = [f"init={folder / 'model'}", f"data.train={folder / 'data.jsonl'}", f"data.cache={folder / 'features'}",
                "steps=3", "batch_size=8", "schedule.warmup_steps=0", "optimizer.lr=1e-3", "log_every=1",
                "data.views=0", "data.feature_type=f32", "precision=f32", *more]
    run("train", ROOT / "recipes" / "tiny_stage1.toml", "--output", folder / name, "--threads", 1,
        *(word for setting in settings for word in ("--set", setting)))
    return [line for line in map(json.loads, (folder / name / "log.jsonl").open()) if "loss" in line]


def test_pictures_of_any_aspect_train(any_aspect, run, run_json):
    """Cached features, live ones and an encoder that is trained give the same first step."""
    config = json.loads((any_aspect / "model" / "config.json").read_text())["vision_config"]
    assert config["model_type"] == "siglip2_vision_model" and config["max_num_patches"] == MOST
    objectives = ["objectives.mrm=1", "objectives.mlm=1"]
    cached = steps_of(any_aspect, run, "cached", *objectives)
    [cache] = (any_aspect / "features").iterdir()
    assert (cache / "rows.bin").stat().st_size == len(ASPECTS) * (MOST * 32 * 4 + 8)
    again = steps_of(any_aspect, run, "again", *objectives)
    assert [line["loss"] for line in again] == [line["loss"] for line in cached]
    live = steps_of(any_aspect, run, "live", "data.features=live", *objectives)
    assert [line["loss"] for line in live] == pytest.approx([line["loss"] for line in cached], rel=1e-4)
    trained = steps_of(any_aspect, run, "trained", "data.features=live", "image_encoder.train=true",
                       "image_encoder.checkpointing=true", *objectives)
    assert trained[0]["loss"] == pytest.approx(cached[0]["loss"], rel=1e-4)
    before, after = (load_file(any_aspect / name / "model-vision.safetensors") for name in ("model", "trained"))
    learnt = [name for name in before if not name.endswith("k_proj.bias")]  # which changes no softmax
    assert all(not torch.equal(before[name], after[name]) for name in learnt)
    [line] = run_json("preprocess", "--model", any_aspect / "trained", any_aspect / "1.png", "--output",
                      any_aspect / "p.safetensors")
    assert line["shape"] == [1, 3, 14, 42]  # 90 x 30
    failed = run("train", ROOT / "recipes" / "tiny_stage1.toml", "--output", any_aspect / "no", "--set",
                 f"init={any_aspect / 'model'}", "--set", f"data.train={any_aspect / 'data.jsonl'}", "--set",
                 "data.features=live", "--set", "image_encoder.train=true", "--set", "image_encoder.image_size=56",
                 code=1)
    assert "image_encoder.image_size" in failed.stderr and "max_num_patches" in failed.stderr


def test_a_batch_of_any_aspect_is_its_pictures_alone(any_aspect, run, run_json):
    """And it is what transformers' padded batch and masked attention give to the Q-Former."""
    paths = [any_aspect / f"{number}.png" for number in range(len(ASPECTS))]
    together, alone = any_aspect / "together.safetensors", any_aspect / "alone.safetensors"
    run("embed", "--model", any_aspect / "model", "--output", together, *paths)
    vectors = load_file(together)["image_embeds"]
    for number, path in enumerate(paths):
        run("embed", "--model", any_aspect / "model", "--output", alone, path)
        own = load_file(alone)["image_embeds"][0]
        assert (own - vectors[number]).abs().max() < 1e-5, ASPECTS[number]
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    lines = run_json("match", "--model", any_aspect / "model", "--text", "a red picture", *paths)
    assert len({line["itm"] for line in lines}) == len(paths)
    plan = run("train", ROOT / "recipes" / "tiny_stage1.toml", "--plan", "--set", f"init={any_aspect / 'model'}",
               "--set", f"data.train={any_aspect / 'data.jsonl'}", "--output", any_aspect / "planned")
    assert "image encoder" in plan.stdout


def test_other_preprocessing_is_refused(any_aspect, run, tmp_path):
    shutil.copytree(any_aspect / "model", tmp_path / "model")
    path = tmp_path / "model" / "preprocessor_config.json"
    processor = json.loads(path.read_text())
    for change, key in (({"patch_size": 16}, "patch_size: expected 14"), ({"max_num_patches": -1}, "max_num_patches"),
                        ({"image_processor_type": "BlipImageProcessor"}, "max_num_patches")):
        path.write_text(json.dumps(processor | change))
        failed = run("match", "--model", tmp_path / "model", "--text", "a", any_aspect / "0.png", code=1)
        assert key in failed.stderr and str(tmp_path / "model") in failed.stderr, failed.stderr


def test_cross_attention_starts_as_large_as_the_assembly_file_says(tmp_path, run):
    write_text_encoder(tmp_path / "bert")
    hf.SiglipVisionModel(KINDS["siglip_vision_model"][1]).save_pretrained(tmp_path / "encoder")
    recipe = 'image_encoder = "encoder"\ntext_encoder = "bert"\nnum_query_tokens = 4\nseed = 1\n'
    bridges = {}
    for gain in (1, 4):
        (tmp_path / "parts.toml").write_text(f"{recipe}cross_attention_gain = {gain}\n")
        run("convert", tmp_path / "parts.toml", tmp_path / f"model{gain}")
        bridges[gain] = load_file(tmp_path / f"model{gain}" / "model-bridge.safetensors")
    larger = {name for name, value in bridges[1].items() if not torch.equal(value, bridges[4][name])}
    assert larger == {name for name in bridges[1] if name.endswith("crossattention.attention.value.weight")}
    assert larger
    for name in larger:
        torch.testing.assert_close(4 * bridges[1][name], bridges[4][name], rtol=0, atol=0)
    for wrong in (0, -1, 1000):
        (tmp_path / "parts.toml").write_text(f"{recipe}cross_attention_gain = {wrong}\n")
        failed = run("convert", tmp_path / "parts.toml", tmp_path / "wrong", code=1)
        assert "cross_attention_gain" in failed.stderr
        assert not (tmp_path / "wrong").exists()

"""Other image encoders from their Hugging Face directories: assembled, trained on, matched with."""

import json
import math
import pathlib

import pytest
import torch
import transformers as hf
from mini_model import write_text_encoder
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14)
KINDS = {
    "siglip_vision_model": (hf.SiglipVisionModel, hf.SiglipVisionConfig(intermediate_size=48, **SIZES), 28, 4),
    "dinov2": (hf.Dinov2Model, hf.Dinov2Config(**SIZES), 28, 5),
    "resnet": (hf.ResNetModel, hf.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[1, 1, 1]),
               224, 196),
}


@pytest.fixture(params=KINDS)
def parts(request, tmp_path):
    """An image encoder with weights that matter, words, and the file that names them."""
    kind, config, size, _ = KINDS[request.param]
    torch.manual_seed(3)
    model = kind(config)
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1:
                value.normal_(0, 2 / value[0].numel() ** 0.5)
    model.save_pretrained(tmp_path / "encoder")
    processor = {"size": {"height": size, "width": size}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "encoder" / "preprocessor_config.json").write_text(json.dumps(processor))
    write_text_encoder(tmp_path / "bert")
    (tmp_path / "parts.toml").write_text('image_encoder = "encoder"\ntext_encoder = "bert"\nnum_query_tokens = 4\n'
                                         "image_text_hidden_size = 16\nseed = 1\n")
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

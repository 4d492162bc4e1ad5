"""Steps that train the image encoder beside the bridge, from pictures to gradients, against eager PyTorch
and transformers' vision transformers."""

import json
import pathlib
import subprocess
import sys

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, Blip2VisionConfig, Blip2VisionModel, CLIPVisionConfig, CLIPVisionModel

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import blip2_reference as reference  # noqa: E402
import mini_model  # noqa: E402
import test_training as steps  # noqa: E402
from random_streams import Random, derive_seed  # noqa: E402
from test_vision_encoders import shake  # noqa: E402

PICTURE_STREAM = 51  # of a step's randomness, in live_features.cpp
SIZE, DEPTH = 42, 3
SHAPE = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=DEPTH, num_attention_heads=4, image_size=28,
             patch_size=14)
KINDS = {"eva": (Blip2VisionModel, Blip2VisionConfig), "clip": (CLIPVisionModel, CLIPVisionConfig)}
# Two pictures with a caption each: the other one is the only negative that there is.
PAIRS = [{"image": "0.png", "caption": "a red circle"}, {"image": "1.png", "caption": "a blue square"}]
ASKED = [{"image": "0.png", "caption": "a red circle"},
         {"image": "1.png", "question": "what color is it?", "answer": "blue"},
         {"image": "2.png", "caption": "a green triangle"},
         {"image": "1.png", "question": "is it a circle?", "answer": "a square"}]
RECIPE = """
stage = {stage}
init = "{init}"
steps = 1
seed = 7
batch_size = {rows}
precision = "{precision}"
dropout = 0.0
[data]
train = "records.jsonl"
features = "live"
[schedule]
warmup_steps = 0
[prompt]
to_qformer = true
[image_encoder]
train = true
image_size = {size}
drop_path = {drop_path}
layer_decay = {layer_decay}
checkpointing = {checkpointing}
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session", params=KINDS)
def init(request, build, tmp_path_factory):
    """A model directory of small random parts, the image encoder saved by transformers."""
    folder = tmp_path_factory.mktemp(request.param)
    model, config = KINDS[request.param]
    torch.manual_seed(4)
    shake(model(config(**SHAPE))).save_pretrained(folder / "vit")
    assembly = mini_model.write_parts(folder, folder / "vit")
    subprocess.run([build / "blip2", "convert", assembly, folder / "model"], check=True, capture_output=True)
    return folder / "model"


@pytest.fixture
def step(probe, init, tmp_path):
    """step(stage, records, ...): what the program computes in step 0."""

    def run(stage, records, precision="f32", drop_path=0.0, layer_decay=1.0, checkpointing=False, size=SIZE):
        steps.write_records(tmp_path, records)
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(RECIPE.format(
            stage=stage, init=init, rows=len(records), precision=precision, drop_path=drop_path, size=size,
            layer_decay=layer_decay, checkpointing=str(checkpointing).lower()))
        probe("training", recipe, tmp_path / "out.safetensors")
        return load_file(tmp_path / "out.safetensors")

    return run


def pixels_of(init, folder, records):
    """The records' pictures, which are square, as Pillow and NumPy make them [B,3,S,S]."""
    config = json.loads((init / "preprocessor_config.json").read_text())
    mean, std = (numpy.float32(config[key]) for key in ("image_mean", "image_std"))
    rows = []
    for record in records:
        image = Image.open(folder / record["image"]).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        values = (numpy.asarray(image).astype(numpy.float64) * (1 / 255)).astype(numpy.float32)
        rows.append(torch.from_numpy(((values - mean) / std).transpose(2, 0, 1)))
    return torch.stack(rows)


def vision_model(init):
    """transformers' own, at SIZE pixels: its position embeddings are resized as transformers does it."""
    config = json.loads((init / "config.json").read_text())["vision_config"]
    config.pop("feature_layers", None)
    kind, settings = next(KINDS[k] for k in KINDS if KINDS[k][1].model_type == config["model_type"])
    state = {name.removeprefix("vision_model."): value
             for name, value in load_file(init / "model-vision.safetensors").items()}
    place = next(name for name in state if "position_embedding" in name)
    table = state[place].reshape(-1, SHAPE["hidden_size"])
    old, new = SHAPE["image_size"] // SHAPE["patch_size"], SIZE // SHAPE["patch_size"]
    grid = table[1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    resized = torch.cat([table[:1], grid.permute(0, 2, 3, 1).flatten(0, 2)])
    state[place] = resized[None] if state[place].dim() == 3 else resized
    model = kind(settings(**{**config, "image_size": SIZE})).eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("post_layernorm" in name or "position_ids" in name for name in missing)
    return model


def features_of(vision, pixels):
    return vision(pixels, output_hidden_states=True).hidden_states[-1]


def padded_words(init, texts):
    tokenizer = AutoTokenizer.from_pretrained(init / "qformer_tokenizer")
    return steps.padded([tokenizer(text).input_ids for text in texts], 0)


def stage1_reference(init):
    config = json.loads((init / "config.json").read_text())
    qformer = config["qformer_config"]
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
            "cross_attention_frequency", "encoder_hidden_size", "max_position_embeddings", "layer_norm_eps")
    model = reference.Stage1(reference.BridgeConfig(
        num_query_tokens=config["num_query_tokens"], projection_size=config["image_text_hidden_size"],
        **{key: qformer[key] for key in keys}))
    model.post_layernorm.eps = 1e-5  # LAVIS's ln_vision
    state = {steps.reference_name(name): value
             for name, value in load_file(init / "model-bridge.safetensors").items()
             if not name.startswith("language_projection.")}
    model.load_state_dict(state)
    return model


def stage1_loss(init, folder):
    """The reference with its image encoder, and loss_of(model, float type)."""
    model = stage1_reference(init)
    model.vision_model = vision_model(init)
    pixels = pixels_of(init, folder, PAIRS)
    ids, mask = padded_words(init, [record["caption"] for record in PAIRS])
    decoder_token = AutoTokenizer.from_pretrained(init / "qformer_tokenizer").convert_tokens_to_ids("[DEC]")
    other = torch.tensor([1, 0])

    def loss_of(model, number):
        features = features_of(model.vision_model, pixels.to(number))
        return model(features, ids, mask, torch.arange(2), torch.arange(2), decoder_token=decoder_token,
                     negative_images=other, negative_texts=other).total

    return model, loss_of


def stage2_loss(init, folder):
    model = steps.reference_model(init, steps.language_model(init))
    model.vision_model = vision_model(init)
    pixels = pixels_of(init, folder, ASKED)
    language = AutoTokenizer.from_pretrained(init)
    prompts = [f"Question: {r['question']} Short answer:" if "question" in r else "a photo of" for r in ASKED]
    rows, labels = [], []
    for record, prompt in zip(ASKED, prompts):
        start = language(prompt, add_special_tokens=False).input_ids
        answer = " " + record.get("answer", record.get("caption"))
        end = language(answer, add_special_tokens=False).input_ids + [language.eos_token_id]
        rows.append(start + end)
        labels.append([-100] * len(start) + end)
    ids, mask = steps.padded(rows, 0)
    labels = steps.padded(labels, -100)[0]
    read = padded_words(init, prompts)

    def loss_of(model, number):
        return model(features_of(model.vision_model, pixels.to(number)), ids, mask, labels, *read)

    return model, loss_of


def has_all_gradients(ours):
    names = [name for name in ours if name.startswith("grad.vision_model.")]
    assert len(names) == len([name for name in ours if name.startswith("lr_scale.")]) > 12 * DEPTH


def test_stage1_loss_and_gradients(step, init, tmp_path):
    ours = step(1, PAIRS)
    has_all_gradients(ours)
    model, loss_of = stage1_loss(init, tmp_path)
    theirs = features_of(model.vision_model, pixels_of(init, tmp_path, PAIRS))
    assert (ours["features"] - theirs).abs().max() <= 1e-4
    steps.assert_step(ours, model, loss_of)


def test_stage2_loss_and_gradients(step, init, tmp_path):
    ours = step(2, ASKED)
    has_all_gradients(ours)
    steps.assert_step(ours, *stage2_loss(init, tmp_path))


def scales_of(pictures, block, branch, drop_path):
    """What stochastic depth multiplies a branch by, for each row's picture."""
    share = drop_path * block / (DEPTH - 1)
    scales = []
    for place in pictures:
        random = Random(derive_seed(derive_seed(7, PICTURE_STREAM, 0, place), block, branch))
        scales.append(0.0 if (random.next() >> 11) * 2.0**-53 < share else 1 / (1 - share))
    return torch.tensor(scales)[:, None, None]


def test_stochastic_depth(step, init, tmp_path):
    """A picture's branches are dropped by the seed, the step and the picture: also where it comes twice."""
    ours = step(2, ASKED, drop_path=0.5)
    model, loss_of = stage2_loss(init, tmp_path)
    order = list(dict.fromkeys(record["image"] for record in ASKED))
    pictures = [order.index(record["image"]) for record in ASKED]
    blocks, dropped = model.vision_model.encoder.layers, 0
    for number, block in enumerate(blocks):
        attention, inner = (scales_of(pictures, number, branch, 0.5) for branch in (0, 1))
        dropped += int((attention == 0).sum() + (inner == 0).sum())
        block.self_attn.register_forward_hook(lambda m, i, o, s=attention: (o[0] * s, *o[1:]))
        block.mlp.register_forward_hook(lambda m, i, o, s=inner: o * s)
    assert dropped > 0, "a comparison of nothing"
    steps.assert_step(ours, model, loss_of)


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_checkpointing_changes_no_bit(step, drop_path, precision):
    kept = step(2, ASKED, precision, drop_path)
    again = step(2, ASKED, precision, drop_path, checkpointing=True)
    assert kept.keys() == again.keys()
    for name, value in kept.items():
        assert torch.equal(value, again[name]), name


def test_bf16_is_near(step):
    exact, near = step(2, ASKED), step(2, ASKED, "bf16")
    assert abs(near["loss"] - exact["loss"]) <= 0.02 * exact["loss"]
    names = [name for name in exact if name.startswith("grad.vision_model.")]
    assert not torch.equal(near[names[0]], exact[names[0]])
    for name in names:
        if name.endswith("k_proj.bias"):  # 0 on paper
            continue
        assert near[name].dtype == torch.float32
        cosine = torch.nn.functional.cosine_similarity(near[name].flatten(), exact[name].flatten(), dim=0)
        assert cosine > 0.98, (name, cosine.item())


def lavis_scale(name, decay):
    """LAVIS: get_num_layer of its vision transformers, lr_scale ** (layers + 1 - layer)."""
    name = name.removeprefix("lr_scale.vision_model.")
    if name.startswith(("embeddings.", "pre_layrnorm.")):  # cls_token, pos_embed, patch_embed; conv1, ln_pre
        layer = 0
    else:
        layer = int(name.removeprefix("encoder.layers.").split(".")[0]) + 1
    return decay ** (DEPTH + 1 - layer)


def test_layer_decay(step):
    scales = {name: value.item() for name, value in step(2, ASKED, layer_decay=0.9).items()
              if name.startswith("lr_scale.")}
    assert {round(value, 6) for value in scales.values()} == {0.9, 0.81, 0.729, 0.6561}
    for name, value in scales.items():
        assert value == pytest.approx(lavis_scale(name, 0.9), rel=1e-12), name

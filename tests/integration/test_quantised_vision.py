"""`convert --vision-weights`: what the files hold, and that every verb runs on them."""

import json
import pathlib
import shutil
import sys

import gguf
import numpy as np
import pytest
import torch
import transformers
from mini_model import write_image_encoder, write_parts
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))
from published_models import Published, load_speaker  # noqa: E402

Q8_0 = gguf.GGMLQuantizationType.Q8_0
VISION, END = "model-vision.safetensors", ".q8_0"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    write_image_encoder(folder / "clip")
    write_parts(folder, "clip")
    return folder


@pytest.fixture(scope="module")
def model(parts, run):
    run("convert", parts / "model.toml", parts / "model")
    return parts / "model"


@pytest.fixture(scope="module")
def small(parts, model, run):
    run("convert", model, parts / "small", "--vision-weights", "q8_0")
    return parts / "small"


def tensors_of(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def is_matrix(name, values):
    return ".encoder.layers." in name and values.dim() == 2 and values.shape[1] % 32 == 0


def check_quantised(before, after):
    """The matrices of the blocks as PyPI gguf quantises them, everything else bit for bit."""
    quantised = 0
    for name, values in before.items():
        if name.startswith("vision_model.") and is_matrix(name, values):
            expected = gguf.quants.quantize(values.float().numpy(), Q8_0)
            assert np.array_equal(after.pop(name + END).numpy(), expected), name
            quantised += 1
        else:
            assert torch.equal(after.pop(name), values), name
    assert not after and quantised
    return quantised


def test_the_file_holds_ggufs_blocks(model, small):
    after, metadata = tensors_of(small / VISION)
    assert check_quantised(load_file(model / VISION), after) == 2 * 5  # q, k, v, output, fc1 of two blocks
    assert metadata["blip2.quantisation"].startswith("Q8_0: one scale of 32 numbers")
    index = json.loads((small / "model.safetensors.index.json").read_text())
    assert "vision_model.encoder.layers.0.mlp.fc1.weight" + END in index["weight_map"]
    assert index["metadata"]["total_size"] == sum(
        values.nbytes for path in small.glob("model-*.safetensors") for values in load_file(path).values())


def test_read_back_bit_for_bit(run, model, small, tmp_path):
    """A copy is the same file; quantised again, too; widened, it is what PyPI gguf reads."""
    run("convert", small, tmp_path / "copy")
    run("convert", small, tmp_path / "again", "--vision-weights", "q8_0")
    run("convert", small, tmp_path / "wide", "--vision-weights", "bf16")
    assert (tmp_path / "copy" / VISION).read_bytes() == (small / VISION).read_bytes()
    assert (tmp_path / "again" / VISION).read_bytes() == (small / VISION).read_bytes()
    wide, narrow = load_file(tmp_path / "wide" / VISION), load_file(small / VISION)
    assert wide.keys() == load_file(model / VISION).keys()
    for name, values in wide.items():
        assert values.dtype == torch.bfloat16
        source = narrow.get(name)
        if source is None:
            source = torch.from_numpy(gguf.quants.dequantize(narrow[name + END].numpy(), Q8_0))
        assert torch.equal(values, source.bfloat16()), name


def test_inspect_shows_types(run, run_json, small):
    for path in (small, small / VISION):
        [found] = run_json("inspect", path)
        assert found["types"]["Q8_0"]["tensors"] == 10
        assert found["types"]["Q8_0"]["bits_per_weight"] == 8.5
        dtypes = {tensor["name"]: tensor["dtype"] for tensor in found["tensors"]}
        assert dtypes["vision_model.encoder.layers.1.self_attn.q_proj.weight"] == "Q8_0"
    assert "8.50 bits each" in run("inspect", small).stdout


def features(run, model, images, output, *options):
    run("embed", "--model", model, "--output", output, *options, *images)
    return load_file(output)


def test_every_verb_runs(run, run_json, model, small, pictures, tmp_path):
    images = sorted(pictures.glob("*_4.png"))
    ours, exact = (features(run, folder, images, tmp_path / f"{folder.name}.safetensors") for folder in (small, model))
    for name in exact:
        cosine = torch.nn.functional.cosine_similarity(ours[name].float().flatten(), exact[name].float().flatten(), 0)
        print(f"{name}: 1 - cosine {1 - cosine.item():.1e}")
        assert 0.999 < cosine < 1
    alone = features(run, small, images[:1], tmp_path / "alone.safetensors")
    for name, values in alone.items():
        assert torch.allclose(values[0], ours[name][0], atol=1e-5), name  # the Q-Former adds in another order
    for verb in (("caption",), ("vqa", "--question", "what color is it?")):
        lines = run_json(*verb, "--model", small, "--max-new-tokens", 4, *images)
        assert len(lines) == len(images) and all("error" not in line for line in lines)
    run_json("eval", "--model", small, "--task", "caption", "--data", pictures / "my.jsonl", "--max-new-tokens", 2)
    wide = features(run, small, images[:1], tmp_path / "wide.safetensors", "--precision", "f32")
    assert all(not torch.equal(wide[name], alone[name]) for name in alone)  # without rounded activations


def train(run, model, pictures, output, *settings, code=0):
    settings = [f"init={model}", f"data.train={pictures / 'my.jsonl'}", "steps=2", "batch_size=8", "data.views=1",
                "schedule.warmup_steps=0", "log_every=1", *settings]
    return run("train", ROOT / "recipes" / "tiny_stage1.toml", "--output", output, "--threads", 1,
               *(word for setting in settings for word in ("--set", setting)), code=code)


def test_training_reads_its_features(run, model, small, pictures, tmp_path):
    losses = []
    for folder in (model, small):
        train(run, folder, pictures, tmp_path / folder.name, f"data.cache={tmp_path / 'features'}")
        lines = map(json.loads, (tmp_path / folder.name / "log.jsonl").open())
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]
    assert len(list((tmp_path / "features").iterdir())) == 2  # each encoder has its own
    assert (tmp_path / "small" / VISION).read_bytes() == (small / VISION).read_bytes()


def test_the_kept_stage_1_has_the_same_encoder(run, run_json, model, pictures, tmp_path):
    settings = [f"init={model}", f"data.train={pictures / 'my.jsonl'}", "steps=1", "batch_size=4", "data.views=1",
                "schedule.warmup_steps=0"]
    run("train", ROOT / "recipes" / "tiny_stage2.toml", "--output", tmp_path / "stage2", "--threads", 1,
        *(word for setting in settings for word in ("--set", setting)))
    run("convert", tmp_path / "stage2", tmp_path / "small", "--vision-weights", "q8_0")
    one, kept = tmp_path / "small" / VISION, tmp_path / "small" / "stage1" / VISION
    assert one.samefile(kept)
    image = next(pictures.glob("*circle_4.png"))
    for verb in (("caption", "--max-new-tokens", 2), ("match", "--text", "a red circle")):
        [line] = run_json(*verb, "--model", tmp_path / "small", image)
        assert "error" not in line


def test_a_quantised_encoder_is_not_trained(run, small, pictures, tmp_path):
    done = train(run, small, pictures, tmp_path / "run", "image_encoder.train=true", "data.features=live",
                 code=1)
    assert "the image encoder is quantised and cannot be trained" in done.stderr
    assert done.stderr.count("error") <= 1


def test_a_convolutional_encoder_is_refused_by_name(run, parts, tmp_path):
    torch.manual_seed(1)
    encoder = transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[1, 1, 1]))
    encoder.save_pretrained(parts / "resnet")
    text = (parts / "model.toml").read_text().replace('"clip"', '"resnet"')
    (parts / "resnet.toml").write_text(text)
    run("convert", parts / "resnet.toml", tmp_path / "model")
    for source in (parts / "resnet.toml", tmp_path / "model"):
        for choice in ("bf16", "q8_0"):
            done = run("convert", source, tmp_path / "small", "--vision-weights", choice, code=1)
            assert "resnet is no vision transformer" in done.stderr
            assert not (tmp_path / "small" / "config.json").exists()


def test_numbers_that_are_not_finite(run, model, tmp_path):
    shutil.copytree(model, tmp_path / "bad")
    state = load_file(model / VISION)
    name = "vision_model.encoder.layers.1.mlp.fc1.weight"
    state[name][3, 5] = float("nan")
    save_file(state, tmp_path / "bad" / VISION)
    done = run("convert", tmp_path / "bad", tmp_path / "small", "--vision-weights", "q8_0", code=1)
    assert name in done.stderr and "not finite" in done.stderr
    assert not (tmp_path / "small" / "config.json").exists()


def test_bad_blocks(run, small, tmp_path):
    """A scale that is not finite, and a matrix of another shape."""
    name = "vision_model.encoder.layers.0.self_attn.q_proj.weight"
    state, metadata = tensors_of(small / VISION)
    damaged = {key: values.clone() for key, values in state.items()}
    damaged[name + END][0, :2] = torch.tensor([0x00, 0x7C], dtype=torch.uint8)
    short = dict(state) | {name + END: torch.cat([state[name + END]] * 2, 1)}
    for i, (tensors, message) in enumerate(((damaged, "a scale that is not finite"), (short, "expected shape"))):
        folder = tmp_path / str(i)
        shutil.copytree(small, folder)
        (folder / VISION).unlink()
        save_file(tensors, folder / VISION, metadata)
        done = run("caption", "--model", folder, ROOT / "README.md", code=1)
        assert message in done.stderr and name in done.stderr


def test_both_parts_at_once(run, run_json, parts, pictures, tmp_path):
    """Of parts, with the language model quantised beside."""
    run("convert", parts / "model.toml", tmp_path / "small", "--weights", "q8_0", "--vision-weights", "q8_0")
    assert (tmp_path / "small" / "model-language.gguf").exists()
    assert any(name.endswith(END) for name in load_file(tmp_path / "small" / VISION))
    lines = run_json("caption", "--model", tmp_path / "small", "--max-new-tokens", 3, *pictures.glob("*circle_4.png"))
    assert all("error" not in line for line in lines)


@pytest.mark.parametrize("shard", [None, "60KB"])
def test_a_directory_of_transformers(run, run_json, pictures, tmp_path, shard):
    """BLIP-2's own layout, in one file or several: the image encoder's tensors change, ln_vision's do not."""
    source = Published(tmp_path / "source", "opt", shard=shard).folder
    run("convert", source, tmp_path / "small", "--vision-weights", "q8_0")
    before, after = (
        {name: values for path in folder.glob("*.safetensors") for name, values in load_file(path).items()}
        for folder in (source, tmp_path / "small"))
    before = {name: before[name] for name in before if name in after or name + END in after}
    check_quantised(before, after)
    lines = run_json("caption", "--model", tmp_path / "small", "--max-new-tokens", 3, *pictures.glob("*circle_4.png"))
    assert all("error" not in line for line in lines)
    # Widened, transformers' class has it again.
    run("convert", tmp_path / "small", tmp_path / "wide", "--weights", "f32")
    load_speaker(tmp_path / "wide")

"""Bad input to the program: each case gets one clear error that names the place, and exit 1 (2 for
wrong usage), quickly and with nothing half-written."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time
import zlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
from measured import peak_of  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 20  # far above what it takes, whatever else the machine is doing


def png(width, height, data=b"\0" * 16, bits=8, colour=2):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data))
            + chunk(b"IEND", b""))


def test_a_long_picture_costs_what_any_does(program, tmp_path):
    """1 x 60000 pixels in 316 bytes: between resize and centre crop they would be 9 GB."""
    config = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    (tmp_path / "long.png").write_bytes(png(1, 60000, b"\0" * 4 * 60000))
    (tmp_path / "any.png").write_bytes(GOOD_PNG)
    for processor in ("pillow", "torchvision"):
        words = [program, "preprocess", "--model", tmp_path, "--processor", processor, "--output", tmp_path / "out"]
        any_bytes = peak_of([*words, tmp_path / "any.png"])
        begin = time.monotonic()
        assert peak_of([*words, tmp_path / "long.png"]) < 1.2 * any_bytes
        assert time.monotonic() - begin < SECONDS


GOOD_PNG = png(2, 2, b"\0" + b"\1" * 6 + b"\0" + b"\2" * 6)
BAD_PICTURES = {
    "empty": b"",
    "text": b"this is not a picture",
    "png_signature_only": b"\x89PNG\r\n\x1a\n",
    "png_truncated": GOOD_PNG[: len(GOOD_PNG) - 20],
    "png_bad_checksum": GOOD_PNG[:30] + b"\xff" + GOOD_PNG[31:],
    "png_zero": png(0, 0),
    "png_huge": png(200000, 200000),
    "png_bad_depth": png(2, 2, bits=7),
    "png_no_data": png(64, 64, b""),
    "jpeg_start_only": b"\xff\xd8\xff",
    "jpeg_garbage": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\x55" * 64,
    "webp_start_only": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    "gif": b"GIF89a" + b"\0" * 32,
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_pictures(refuse, init, tmp_path, name):
    (tmp_path / "bad.img").write_bytes(BAD_PICTURES[name])
    refuse("bad.img", "preprocess", "--model", init, "bad.img", "--output", "out.safetensors")


def test_a_missing_picture(refuse, init):
    refuse("missing.png", "caption", "--model", init, "missing.png")


def test_a_folder_for_a_picture(refuse, init, tmp_path):
    (tmp_path / "folder").mkdir()
    refuse("folder", "match", "--model", init, "--text", "x", "folder")


@pytest.fixture
def model(init, tmp_path):
    """A model directory of our own to damage; the frozen parts are links and must be replaced."""
    shutil.copytree(init, tmp_path / "model", copy_function=os.link)
    return tmp_path / "model"


def replace(path, content):
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)


def edit_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    replace(path, json.dumps(value))


BAD_CONFIGS = {
    "empty": ("config.json", lambda c: c.clear()),
    "model_type": ("blip-2", lambda c: c.update(model_type="gpt")),
    "unknown_key": ("num_query_token", lambda c: c.update(num_query_token=3)),
    "queries": ("num_query_tokens", lambda c: c.update(num_query_tokens=0)),
    "queries_type": ("num_query_tokens", lambda c: c.update(num_query_tokens="many")),
    "other_queries": ("query_tokens", lambda c: c.update(num_query_tokens=9)),
    "vision_missing": ("vision_config", lambda c: c.pop("vision_config")),
    "vision_variant": ("lite9", lambda c: c["vision_config"].update(variant="lite9")),
    "vision_size": ("image_size", lambda c: c["vision_config"].update(image_size=10**9)),
    "qformer_missing": ("qformer_config", lambda c: c.pop("qformer_config")),
    "qformer_layers": ("qformer", lambda c: c["qformer_config"].update(num_hidden_layers=7)),
    "qformer_heads": ("qformer_config", lambda c: c["qformer_config"].update(num_attention_heads=5)),
    "qformer_huge": ("qformer_config", lambda c: c["qformer_config"].update(hidden_size=2**40)),
    "text_width": ("text_config", lambda c: c["text_config"].update(hidden_size=-1)),
    "text_layers": ("language_model", lambda c: c["text_config"].update(num_hidden_layers=31)),
    "prompt": ("question_prompt", lambda c: c.update(question_prompt="no place")),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_configs(refuse, model, pictures, name):
    expected, change = BAD_CONFIGS[name]
    edit_json(model / "config.json", change)
    refuse(expected, "caption", "--model", model, sorted(pictures.glob("*.png"))[0])


@pytest.mark.parametrize("text", ["", "{", "[1]", "nul", "[" * 100000, '{"a": 1' + "0" * 400 + "}"])
def test_config_syntax(refuse, model, pictures, text):
    replace(model / "config.json", text)
    refuse("config.json", "caption", "--model", model, sorted(pictures.glob("*.png"))[0])


def cut(path, share):
    replace(path, path.read_bytes()[: int(path.stat().st_size * share)])


BAD_FILES = {
    "no_config": ("config.json", lambda m: (m / "config.json").unlink()),
    "no_index": ("model", lambda m: (m / "model.safetensors.index.json").unlink()),
    "no_shard": ("model-bridge.safetensors", lambda m: (m / "model-bridge.safetensors").unlink()),
    "shard_cut": ("model-bridge.safetensors", lambda m: cut(m / "model-bridge.safetensors", 0.5)),
    "shard_empty": ("model-vision.safetensors", lambda m: replace(m / "model-vision.safetensors", b"")),
    "shard_length": ("model-vision.safetensors",
                     lambda m: replace(m / "model-vision.safetensors", b"\xff" * 8 + b"{}")),
    "index_escapes": ("..", lambda m: edit_json(
        m / "model.safetensors.index.json",
        lambda i: i["weight_map"].update(query_tokens="../evil.safetensors"))),
    "index_moved": ("query_tokens", lambda m: edit_json(
        m / "model.safetensors.index.json",
        lambda i: i["weight_map"].update(query_tokens="model-vision.safetensors"))),
    "no_tokenizer": ("tokenizer", lambda m: (m / "tokenizer.json").unlink()),
    "tokenizer_syntax": ("tokenizer.json", lambda m: replace(m / "tokenizer.json", "{")),
    "no_qformer_tokenizer": ("qformer_tokenizer", lambda m: shutil.rmtree(m / "qformer_tokenizer")),
    "no_preprocessor": ("preprocessor_config.json",
                        lambda m: (m / "preprocessor_config.json").unlink()),
    "preprocessor_type": ("preprocessor_config.json", lambda m: edit_json(
        m / "preprocessor_config.json", lambda c: c.update(image_mean="grey"))),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_model_files(refuse, model, pictures, name):
    expected, damage = BAD_FILES[name]
    damage(model)
    to_reads = {"no_qformer_tokenizer"}
    verb = ("match", "--text", "x") if name in to_reads else ("caption",)
    refuse(expected, verb[0], "--model", model, *verb[1:], sorted(pictures.glob("*.png"))[0])


BAD_RECIPES = {
    "unknown_key": ("did you mean 'steps'?", "stepz = 3"),
    "unknown_nested": ("did you mean 'train'?", "[data]\ntrian = 'x'"),
    "syntax": ("r.toml:2:9", "steps = = 3"),
    "type": ("steps: expected a whole number", "steps = 'many'"),
    "range": ("batch_size: expected a number in", "batch_size = 0"),
    "negative_lr": ("optimizer.lr", "[optimizer]\nlr = -1"),
    "stage": ("stage: expected 1 or 2", "stage = 3"),
    "no_data": ("data.train", "stage = 1"),
    "precision": ("precision", "precision = 'f8'"),
}


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_recipes(refuse, tmp_path, name):
    expected, text = BAD_RECIPES[name]
    head = "" if text.startswith(("stepz", "steps", "stage", "batch", "precision")) else "init = 'm'\n"
    body = text if "[data]" in text or name == "no_data" else text + "\n"
    (tmp_path / "r.toml").write_text(f"init = 'm'\n{body}" if not head else head + body)
    if "[data]" not in text and name != "no_data":
        refuse(expected, "train", "r.toml", "--set", "data.train=a.jsonl", "--output", "out")
    else:
        refuse(expected, "train", "r.toml", "--output", "out")


def test_a_missing_recipe(refuse):
    refuse("missing.toml", "train", "missing.toml", "--output", "out")


BAD_LINES = {
    "broken": '{"image": "a.png", "caption"',
    "no_caption": '{"image": "a.png"}',
    "no_image": '{"caption": "x"}',
    "wrong_type": '{"image": 3, "caption": "x"}',
    "empty_caption": '{"image": "a.png", "caption": []}',
    "array": "[]",
    "missing_picture": '{"image": "no.png", "caption": "x"}',
    "undecodable": '{"image": "broken.png", "caption": "x"}',
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_data_lines(program, init, tmp_path, name):
    (tmp_path / "a.png").write_bytes(GOOD_PNG)
    (tmp_path / "broken.png").write_bytes(GOOD_PNG[:40])
    good = json.dumps({"image": "a.png", "caption": "x"})
    (tmp_path / "d.jsonl").write_text("\n".join([good] * 3 + [BAD_LINES[name]] + [good]) + "\n")
    command = [program, "train", ROOT / "recipes" / "tiny_stage1.toml", "--set", f"init={init}",
               "--set", "data.train=d.jsonl", "--set", "data.views=0", "--output", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "d.jsonl:4" in done.stderr and "1 of 5" in done.stderr, done.stderr
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_used_output_folder(refuse, init, pictures, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "log.jsonl").write_text("{}\n")
    refuse(["already holds a run", "--resume"], "train", ROOT / "recipes" / "tiny_stage1.toml",
           "--set", f"init={init}", "--set", f"data.train={pictures / 'my.jsonl'}", "--output", "out")


def test_assembly(refuse, tmp_path):
    for text, expected in (("", "image_encoder"), ("image_encoder = 'x.pth'", "text_encoder"),
                           ("image_encoder = 'no.pth'\ntext_encoder = 'no'", "no.pth"),
                           ("imageencoder = 'x'", "did you mean 'image_encoder'?")):
        (tmp_path / "a.toml").write_text(text)
        (tmp_path / "model").mkdir(exist_ok=True)
        refuse(expected, "convert", "a.toml", "model")


def limit_file_size():
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_no_space(refuse, init, pictures, tmp_path):
    """A file size limit stands for a full disk: writes fail half-way."""
    image = sorted(pictures.glob("*.png"))[0]
    refuse(["out.safetensors", "after 4096 bytes"], "preprocess", "--model", init, image, "--output",
           "out.safetensors", preexec=limit_file_size)


@pytest.mark.parametrize("words", [
    [], ["fly"], ["caption"], ["caption", "--model"], ["caption", "--no-such", "1"],
    ["caption", "--model", "m", "--beams", "many", "a.png"], ["eval", "--model", "m", "--task", "x",
                                                              "--data", "d"], ["train"],
])
def test_wrong_usage(refuse, words):
    refuse("", *words, code=2)


@pytest.mark.parametrize("words", [["--beams", "0"], ["--temperature", "0", "--sample"],
                                   ["--top-p", "2", "--sample"], ["--max-new-tokens", "0"],
                                   ["--repetition-penalty", "0"], ["--min-new-tokens", "40"]])
def test_generation_options(refuse, init, pictures, words):
    image = sorted(pictures.glob("*.png"))[0]
    refuse(words[0].strip("-").replace("-", "_"), "caption", "--model", init, *words, image, code=2)

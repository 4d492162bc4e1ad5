"""Fixtures of the integration tests: they run the program itself on real models."""

import json
import os
import pathlib
import random
import subprocess
import sys

import numpy
import pytest
from mini_model import write_image_encoder, write_parts
from PIL import Image, ImageDraw

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (30, 160, 60), "black": (0, 0, 0)}
SHAPES = ("circle", "square", "triangle")


@pytest.fixture(autouse=True)
def alike_in_any_order():
    """Every test draws the same random numbers."""
    import torch

    torch.manual_seed(0)
    numpy.random.seed(0)
    random.seed(0)


@pytest.fixture(scope="session")
def program():
    build = pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build"))
    assert (build / "blip2").exists(), f"{build}/blip2 is missing: build it first"
    return build / "blip2"


@pytest.fixture(scope="session")
def run(program):
    """run(verb, *args) runs the program from another folder; its JSON lines if it prints any."""

    def call(*args, code=0, input=None, env=None):
        done = subprocess.run(
            [program, *map(str, args)], cwd="/", capture_output=True, text=True, input=input,
            timeout=600, env={**os.environ, **(env or {})})
        assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stderr[-3000:]}"
        return done

    return call


@pytest.fixture(scope="session")
def run_json(run):
    def call(*args, **options):
        return [json.loads(line) for line in run(*args, "--json", **options).stdout.splitlines()]

    return call


@pytest.fixture(scope="session")
def failing_disk(tmp_path_factory):
    """The environment in which the at-th call under a path that holds `folder` fails or signals."""
    library = tmp_path_factory.mktemp("fault") / "failing_disk.so"
    source = ROOT / "tests" / "integration" / "failing_disk.c"
    subprocess.run(["gcc", "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl"], check=True)

    def environment(folder, at=0, **fault):
        return {**os.environ, "LD_PRELOAD": str(library), "FAULT_FOLDER": str(folder), "FAULT_AT": str(at),
                **{f"FAULT_{name.upper()}": str(int(value) if name != "count" else value)
                   for name, value in fault.items()}}

    return environment


def draw(shape, colour, at):
    image = Image.new("RGB", (64, 64), "white")
    pen, box = ImageDraw.Draw(image), (at, at, at + 36, at + 36)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(at, at + 36), (at + 36, at + 36), (at + 18, at)], fill=colour)
    return image


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with my.jsonl and val.jsonl (captions) and vqa.jsonl (questions) of drawn shapes."""
    folder = tmp_path_factory.mktemp("pictures")
    files = {name: (folder / f"{name}.jsonl").open("w") for name in ("my", "val", "vqa")}
    for shape in SHAPES:
        for name, colour in COLOURS.items():
            for at in (4, 14, 22):
                image = f"{name}_{shape}_{at}.png"
                draw(shape, colour, at).save(folder / image)
                split = "val" if at == 22 else "my"
                files[split].write(json.dumps({"image": image, "caption": f"a {name} {shape}"}) + "\n")
                if split == "my":
                    record = {"image": image, "question": "what color is it?", "answer": name}
                    files["vqa"].write(json.dumps(record) + "\n")
    for file in files.values():
        file.close()
    return folder


@pytest.fixture(scope="session")
def real_init(run, tmp_path_factory):
    """The untrained model of recipes/tiny_model.toml."""
    folder = tmp_path_factory.mktemp("init") / "model"
    run("convert", ROOT / "recipes" / "tiny_model.toml", folder)
    return folder


@pytest.fixture(scope="session")
def init(run, tmp_path_factory):
    """An untrained model whose text side is as small as can be."""
    folder = tmp_path_factory.mktemp("mini")
    assembly = write_parts(folder, ROOT / ".cache" / "models" / "efficientnet-lite0.pth")
    run("convert", assembly, folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def vit_init(run, tmp_path_factory):
    """init with a vision transformer, which can be trained too."""
    folder = tmp_path_factory.mktemp("vit")
    write_image_encoder(folder / "clip")
    run("convert", write_parts(folder, folder / "clip"), folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def t5_init(program, tmp_path_factory):
    """An untrained model whose language model is a small random T5."""
    sys.path.insert(0, str(ROOT / "tests" / "parity"))
    import toy_t5

    folder = tmp_path_factory.mktemp("t5_init") / "model"
    captions = [f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES]
    toy_t5.assemble(program, folder, ["a photo of", "Question: what color is it? Short answer:", *captions])
    return folder


@pytest.fixture(scope="session")
def train(run, pictures, init):
    """train(stage, output, *settings, ...) runs a tiny recipe on the drawn shapes."""

    def call(stage, output, *settings, resume=False, **options):
        chosen = [f"init={init}", f"data.train={pictures / 'my.jsonl'}", "batch_size=8",
                  "data.views=1", f"data.cache={pictures / 'features'}",
                  "schedule.warmup_steps=2", "log_every=1", *settings]
        flags = [word for setting in chosen for word in ("--set", setting)]
        return run("train", ROOT / "recipes" / f"tiny_stage{stage}.toml", *flags, "--output", output,
                   *(["--resume"] if resume else []), **options)

    return call


@pytest.fixture(scope="session")
def stage1(train, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "stage1"
    train(1, folder, f"data.validation={pictures / 'val.jsonl'}", "steps=6", "checkpoint.every=3")
    return folder


@pytest.fixture(scope="session")
def stage2(train, pictures, stage1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "stage2"
    data = f'data.train=["{pictures}/my.jsonl", "{pictures}/vqa.jsonl"]'
    train(2, folder, f"init={stage1}", data, "steps=6", "checkpoint.every=3")
    return folder


@pytest.fixture(scope="session")
def pixels():
    """The numbers that a picture becomes by Pillow and NumPy: [1, 3, 224, 224] f32."""

    def compute(path):
        image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        scaled = numpy.asarray(image).astype(numpy.float64) * (1 / 255)
        mean, std = numpy.float32(127 / 255), numpy.float32(128 / 255)
        values = (scaled.astype(numpy.float32) - mean) / std
        return values.transpose(2, 0, 1)[None]

    return compute


@pytest.fixture(scope="session")
def server(program, stage2):
    """A running `blip2 serve` of the stage-2 model, with stage-1 heads: see serving.Server."""
    from serving import Server

    with Server(program, stage2) as running:
        yield running

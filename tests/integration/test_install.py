"""`cmake --install`, and a program outside the source tree that is built on what it leaves."""

import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "caption"


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=800, **options)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", program.parent, "--prefix", folder)
    return folder


@pytest.fixture(scope="module")
def example(program, prefix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    cache = (program.parent / "CMakeCache.txt").read_text()
    flags = re.search(r"^CMAKE_CXX_FLAGS:STRING=(.*)$", cache, re.MULTILINE)[1]  # of sanitizers
    run("cmake", "-S", EXAMPLE, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}",
        "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_FLAGS={flags}", cwd="/")
    run("cmake", "--build", folder, cwd="/")
    return folder / "caption"


def test_nothing_installed_names_the_sources(prefix):
    files = [file for file in prefix.rglob("*") if file.suffix in (".cmake", ".h")]
    assert (prefix / "include" / "blip2" / "blip2.h") in files
    for file in files:
        text = file.read_text().replace(str(ROOT / ".venv"), "")  # where LibTorch was
        assert str(ROOT) not in text, file


def test_the_example_captions_as_the_program(example, prefix, real_init, pictures):
    picture = sorted(pictures.glob("*.png"))[0]
    said = run(example, real_init, picture, cwd="/").rstrip("\n")
    line = run(prefix / "bin" / "blip2", "caption", "--model", real_init, "--json", picture, cwd="/")
    assert said == json.loads(line)["text"]


def test_the_example_says_what_is_wrong(example, tmp_path, pictures):
    picture = sorted(pictures.glob("*.png"))[0]
    done = subprocess.run([example, tmp_path, picture], capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1 and "config.json" in done.stderr


def test_the_example_is_short():
    assert sum(len(file.read_text().splitlines()) for file in EXAMPLE.iterdir()) <= 60

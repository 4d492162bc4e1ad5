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


def test_the_program_finds_its_other_half(prefix):
    assert (prefix / "libexec" / "blip2" / "blip2-torch").exists()
    assert not (prefix / "bin" / "blip2-torch").exists()
    assert "capfilt" in run(prefix / "bin" / "blip2", "--help", cwd="/")
    assert "--references" in run(prefix / "bin" / "blip2", "score", "--help", cwd="/")


def test_the_example_says_what_is_wrong(example, tmp_path, pictures):
    picture = sorted(pictures.glob("*.png"))[0]
    done = subprocess.run([example, tmp_path, picture], capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1 and "config.json" in done.stderr


def fake_torch(folder, version, needs=None):
    """A folder that looks like LibTorch's; its library is linked with one that is gone."""
    headers = folder / "include" / "torch" / "headeronly"
    for made in (folder / "lib", headers, folder / "include/torch/csrc/api/include"):
        made.mkdir(parents=True)
    numbers = zip(("MAJOR", "MINOR", "PATCH"), version.split("."))
    lines = [f"#define TORCH_VERSION_{name} {number}\n" for name, number in numbers]
    (headers / "version.h").write_text("".join(lines))
    linked = []
    if needs:
        run("cc", "-shared", "-x", "c", "/dev/null", "-o", folder / needs)
        linked = ["-Wl,--no-as-needed", folder / needs]
    run("cc", "-shared", "-x", "c", "/dev/null", "-x", "none", *linked, "-o", folder / "lib/libtorch_cpu.so")
    if needs:
        (folder / needs).unlink()
    return folder


def refusal(source, build, torch, *options):
    done = subprocess.run(["cmake", "-S", source, "-B", build, f"-DTorch_DIR={torch}", *options],
                          capture_output=True, text=True, cwd="/")
    assert done.returncode == 1, done.stdout
    return " ".join(done.stderr.split())


def test_a_libtorch_that_does_not_do_is_named(prefix, tmp_path):
    (tmp_path / "empty").mkdir()
    said = refusal(ROOT, tmp_path / "build", tmp_path / "empty")
    assert f"No LibTorch (lib/libtorch_cpu.so and its headers) in: {tmp_path / 'empty'}" in said

    old = fake_torch(tmp_path / "old", "2.9.1")
    said = refusal(ROOT, tmp_path / "build", old)
    assert "LibTorch 2.13 or newer is needed" in said and "has version 2.9.1" in said

    bare = fake_torch(tmp_path / "bare", "2.99.0", needs="libcudart.so.99")
    said = refusal(ROOT, tmp_path / "build", bare)
    assert "libtorch_cpu.so needs" in said and "libcudart.so.99, not found" in said

    other = fake_torch(tmp_path / "other", "2.99.0")
    said = refusal(EXAMPLE, tmp_path / "user", other, f"-DCMAKE_PREFIX_PATH={prefix}")
    assert "blip2 was built with LibTorch" in said and "has version 2.99.0" in said


def test_the_example_is_short():
    assert sum(len(file.read_text().splitlines()) for file in EXAMPLE.iterdir()) <= 60

"""Fixtures of the parity tests: the probes are small C++ programs in BUILD/probe."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def build():
    """The build folder: BLIP2_BUILD or the checkout's build/."""
    return pathlib.Path(os.environ.get("BLIP2_BUILD", ROOT / "build"))


@pytest.fixture(scope="session")
def packages():
    """site-packages of the running interpreter: the packages that carry models lie there."""
    import torch

    return pathlib.Path(torch.__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def probe(build):
    """probe(name, *args, input=None) runs BUILD/probe/NAME and returns its standard output.

    Fails with the program's standard error if it does not exit with 0.
    """

    def run(name, *args, input=None):
        program = build / "probe" / name
        if not program.exists():
            pytest.fail(f"{program} is missing: build it first")
        done = subprocess.run(
            [str(program), *map(str, args)], input=input, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{name} {args}: exit {done.returncode}\n{done.stderr[-4000:]}"
        return done.stdout

    return run


@pytest.fixture
def one_thread(monkeypatch):
    """Tiny models: more threads only wait for each other."""
    import torch

    for name in ("OMP_NUM_THREADS", "THREADS"):
        monkeypatch.setenv(name, "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

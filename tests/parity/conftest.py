"""Fixtures of the parity tests: the probes are small C++ programs in BUILD/probe."""

import os
import pathlib
import random
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


@pytest.fixture(params=["", "avx512", "avx2", "plain"], ids=lambda name: name or "the machine's")
def instructions(request, monkeypatch):
    """The instruction set of the program's kernels: no more than the machine has."""
    monkeypatch.setenv("BLIP2_KERNELS", request.param)


@pytest.fixture(autouse=True)
def alike_in_any_order():
    """Every test draws the same random numbers and leaves the threads as they were."""
    import numpy
    import torch

    torch.manual_seed(0)
    numpy.random.seed(0)
    random.seed(0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_thread(monkeypatch):
    """Tiny models: more threads only wait for each other."""
    import torch

    for name in ("OMP_NUM_THREADS", "THREADS"):
        monkeypatch.setenv(name, "1")
    torch.set_num_threads(1)

import importlib.util
import os
import pathlib
import subprocess
import sys
import time

import pytest

# The program's fixtures are those of the integration tests.
_path = pathlib.Path(__file__).resolve().parents[1] / "integration" / "conftest.py"
sys.path.insert(0, str(_path.parent))
_spec = importlib.util.spec_from_file_location("integration_fixtures", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
init, pictures, program, run, run_json = (
    getattr(_module, name) for name in ("real_init", "pictures", "program", "run", "run_json"))


@pytest.fixture(scope="session")
def server(program, init):
    """A running `blip2 serve`: see serving.Server."""
    from serving import Server

    with Server(program, init, "--model-name", "blip2") as running:  # as hostile_requests.py calls it
        yield running


SECONDS = 60  # far above what a refusal takes, whatever else the machine is doing


@pytest.fixture
def refuse(program, tmp_path):
    """refuse(expected, *args, code=1): the program ends with `code` and one line that holds all of
    `expected`, and writes nothing new into the working folder."""

    def call(expected, *args, code=1, env=None, preexec=None):
        before = sorted(tmp_path.rglob("*"))
        begin = time.monotonic()
        done = subprocess.run([program, *map(str, args)], cwd=tmp_path, capture_output=True,
                              text=True, timeout=120, env={**os.environ, **(env or {})},
                              preexec_fn=preexec)
        assert done.returncode == code, (done.returncode, done.stderr[-2000:])
        assert time.monotonic() - begin < SECONDS
        assert done.stdout == ""
        errors = [line for line in done.stderr.splitlines() if line.startswith("blip2: ")]
        if code == 1:
            assert len(errors) == 1, done.stderr
        for text in [expected] if isinstance(expected, str) else expected:
            assert text in done.stderr, done.stderr
        assert sorted(tmp_path.rglob("*")) == before

    return call

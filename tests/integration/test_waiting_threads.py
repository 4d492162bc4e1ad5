"""How long the OpenMP runtime's threads look for work: as the user says, else shortly."""

import os
import pathlib
import subprocess

import pytest

# What the runtime itself says when it is loaded; 300000 is its own default.
SHOWN = "GOMP_SPINCOUNT = '{}'"


def start(command, code=0, **variables):
    """What a start prints to both outputs, in an environment that does not say how to wait unless `variables` do."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(command, env={**environment, "OMP_DISPLAY_ENV": "verbose", **variables},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.mark.parametrize("variables, count", [
    ({}, 3000), ({"GOMP_SPINCOUNT": "77"}, 77), ({"OMP_WAIT_POLICY": "passive"}, 0),
    ({"OMP_WAIT_POLICY": "active"}, 30000000000)])
def test_the_user_decides_else_threads_wait_shortly(program, variables, count):
    assert SHOWN.format(count) in start([program, "--version"], **variables)


def test_a_link_under_another_name_starts_the_same_program(program, tmp_path):
    (tmp_path / "other").symlink_to(pathlib.Path(program).resolve())
    assert SHOWN.format(3000) in start([tmp_path / "other", "--version"])


def test_arguments_and_other_variables_stay(program):
    command = [program, "tokenize", "--model", "/nowhere", "--text", "two words"]
    assert "no tokenizer" in start(command, code=2, BLIP2_WHICH="no tokenizer")
    assert "/nowhere" in start(command, code=1)

"""scikit-build-core, and LibTorch to link with: that of the checkout's .venv if `make build` has made it, of the
environment variable Torch_DIR if that is set, else the package torch, which pip then fetches for the build."""

import os
import pathlib

from scikit_build_core.build import *  # noqa: F403 (the hooks that pip calls)
from scikit_build_core.build import get_requires_for_build_wheel as _requires

ROOT = pathlib.Path(__file__).resolve().parents[1]


def get_requires_for_build_wheel(config_settings=None):
    there = "Torch_DIR" in os.environ or any(ROOT.glob(".venv/lib/python3*/site-packages/torch/lib/libtorch_cpu.so"))
    needed = [] if there else (ROOT / "tools" / "requirements.txt").read_text().splitlines()
    return _requires(config_settings) + [line for line in needed if line.startswith("torch=")]

#!/usr/bin/env bash
# Makes build/wheel/blip2_native-*.whl. It has all libraries that the program needs except LibTorch's, which
# are those of the package torch, and glibc's.
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/python -m venv build/wheel-venv
build/wheel-venv/bin/pip --disable-pip-version-check install -q -r tools/requirements-wheel.txt
if command -v ccache >/dev/null; then
    export CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache CXXFLAGS="${CXXFLAGS:-} -fpch-preprocess"
fi
rm -rf build/wheel
build/wheel-venv/bin/pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation -w build/wheel/plain .
build/wheel-venv/bin/python -m auditwheel repair -w build/wheel --plat "${PLATFORM:-auto}" \
    --exclude 'libtorch*.so*' --exclude 'libc10*.so*' --exclude 'libgomp*.so*' build/wheel/plain/*.whl >&2
rm -r build/wheel/plain
ls -l build/wheel/*.whl

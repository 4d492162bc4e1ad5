#!/usr/bin/env bash
# Configures the release build in build/ where needed and builds the named targets (default: all;
# --configure: none).
set -euo pipefail
cd "$(dirname "$0")/.."

options=(-DBLIP2_UNITY=ON -DBLIP2_PYTHON=ON)
if command -v ccache >/dev/null; then
    # Lets ccache keep objects that use the precompiled header, from any checkout's path.
    export CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
    options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_FLAGS=-fpch-preprocess)
fi
{ [ -f build/build.ninja ] && grep -q '^BLIP2_PYTHON:BOOL=ON' build/CMakeCache.txt; } ||
    cmake --preset release "${options[@]}" >&2
[ "${1:-}" = --configure ] && exit
cmake --build build --parallel "${JOBS:-$(nproc)}" ${1:+--target "$@"}

# The untrained model that recipes/tiny_stage*.toml start from, once its parts are there.
if [ -x build/blip2 ] && [ -e .cache/models/all-minilm-l6-v2 ] && [ ! -e build/tiny/config.json ]; then
    build/blip2 convert recipes/tiny_model.toml build/tiny
fi

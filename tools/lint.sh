#!/usr/bin/env bash
# What a reviewer should not have to look for: include direction, file sizes, layout, clang-tidy.
# --fast leaves clang-tidy out.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.h' '*.cpp')
python3 tools/check_layers.py
python3 tools/check_sizes.py
clang-format --dry-run -Werror "${sources[@]}"
[ "${1:-}" = --fast ] && exit

# The rooms without LibTorch: its headers take clang-tidy half a minute a file.
tools/build.sh --configure
mapfile -t plain < <(git ls-files --cached --others --exclude-standard \
    'blip2/base/*.cpp' 'blip2/io/*.cpp' 'blip2/text/*.cpp' 'blip2/image/*.cpp' | grep -v _test.cpp)
printf '%s\n' "${plain[@]}" | xargs -P "${JOBS:-$(nproc)}" -n 4 clang-tidy --quiet -p build 2>/dev/null

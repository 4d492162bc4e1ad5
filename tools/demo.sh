#!/usr/bin/env bash
# From nothing to answers: set-up, build, training on real pictures, evaluation, report.
set -euo pipefail
cd "$(dirname "$0")/.."

started=$SECONDS
tools/setup.sh demo
ready=$SECONDS
tools/build.sh blip2
exec .venv/bin/python tools/demo.py --setup-seconds $((ready - started)) \
    --build-seconds $((SECONDS - ready)) "$@"

#!/usr/bin/env bash
# Runs every comparison of bench/*_speed.py, one after the other; each prints its figures as JSON.
set -euo pipefail
cd "$(dirname "$0")/.."

for comparison in bench/*_speed.py; do
    echo "bench: $comparison" >&2
    .venv/bin/python "$comparison"
done

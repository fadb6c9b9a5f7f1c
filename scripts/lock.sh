#!/bin/sh
# requirements.lock: every package for every platform and Python, with hashes, and no index address.
# With arguments, uv's own: `make lock ARGS="--upgrade"`, `ARGS="--upgrade-package duckdb"`.
set -eu
cd "$(dirname "$0")/.."
uv --version >/dev/null 2>&1 || { echo "make lock needs uv" >&2; exit 1; }
uv pip compile pyproject.toml --group dev --universal --generate-hashes --quiet --no-progress \
    --no-emit-index-url --custom-compile-command "make lock" -o requirements.lock "$@"

#!/bin/sh
# The quick tests on the lowest versions that pyproject.toml allows, in .lowest: its bounds are kept true.
set -eu
cd "$(dirname "$0")/.."
uv --version >/dev/null 2>&1 || { echo "make lowest needs uv" >&2; exit 1; }
VENV=.lowest
uv venv --quiet --clear --python "${PYTHON:-.venv/bin/python}" "$VENV"
uv pip install --quiet --python "$VENV/bin/python" --resolution lowest-direct -r pyproject.toml
# The test tools as they are today: what users get is the program's own bounds.
uv pip install --quiet --python "$VENV/bin/python" --group dev
uv pip install --quiet --python "$VENV/bin/python" --no-deps --no-build-isolation --editable .
exec "$VENV/bin/python" -m pytest tests/unit tests/contract tests/property "$@"

#!/bin/sh
# Every check that reads the text only. All run, so that one look shows everything.
BIN=.venv/bin
failed=0
"$BIN/ruff" format --check --quiet . || { echo "not formatted: make format" >&2; failed=1; }
"$BIN/ruff" check --quiet . || failed=1
"$BIN/lint-imports" --no-logo || failed=1
"$BIN/codespell" || failed=1
exit "$failed"

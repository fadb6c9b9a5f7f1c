#!/bin/sh
# The suite in two parts under one seed: what is quick side by side, then what watches the clock
# alone (two cores busy with other tests would be a fault of their own). Fails if either fails.
set -u
PYTEST=".venv/bin/python -m pytest"
PYPISTREAM_SEED=${PYPISTREAM_SEED:-$(.venv/bin/python -c 'import secrets; print(secrets.randbelow(2**32))')}
export PYPISTREAM_SEED
NO_TESTS=5  # pytest's exit code when ARGS pick none in this part

run() {
    "$@"
    code=$?
    [ "$code" -eq "$NO_TESTS" ] || { ran=yes; [ "$code" -eq 0 ] || failed=$code; }
}

ran= failed=0
run $PYTEST -n 2 --dist worksteal -m "not faults and not e2e" "$@"
if ls tests/faults/test_*.py tests/e2e/test_*.py >/dev/null 2>&1; then
    run $PYTEST -m "faults or e2e" "$@"
fi
[ -n "$ran" ] || exit "$NO_TESTS"
exit "$failed"

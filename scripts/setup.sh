#!/bin/sh
# Makes .venv ready: the locked packages with their hashes, then this checkout, editable.
# Uses uv if it works, else venv and pip. When it cannot, it says in one line what to do.
# Environment: PYTHON = the interpreter to use (default: the first of 3.11 or newer that runs).
set -u
cd "$(dirname "$0")/.." || exit 1
VENV=.venv
LOG=$VENV/setup.log
MINIMUM="3, 11"

stop() {
    echo "pypistream: $*" >&2
    exit 1
}

version_of() {  # prints "3.12" if that interpreter runs at all (a version manager's shim may not)
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

new_enough() {
    "$1" -c "import sys; sys.exit(sys.version_info < ($MINIMUM))" >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" && echo "$PYTHON" && return
        seen=$(version_of "$PYTHON")
        stop "PYTHON=$PYTHON ${seen:+is $seen, and }does not do: name a Python of 3.11 or newer"
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        new_enough "$candidate" && echo "$candidate" && return
    done
    if [ -n "$UV" ]; then
        found=$(uv python find --no-python-downloads '>=3.11' 2>/dev/null) && echo "$found" && return
    fi
    seen=$(version_of python3)
    stop "needs Python 3.11 or newer (python3 here: ${seen:-none}); install one, or name one: make PYTHON=/path/to/python3.12 ..."
}

explain() {  # why the packages did not come, from what the installer wrote
    if grep -qiE 'hash mismatch|do not match the hashes' "$LOG"; then
        stop "a package differs from its hash in requirements.lock: do not use it; check the index or proxy you download from ($LOG)"
    elif grep -qiE 'no space left|disk quota' "$LOG"; then
        stop "the disk is full: free about 500 MB where $VENV and the download cache lie, then run make again ($LOG)"
    elif grep -qiE 'connection|resolve|resolution|dns error|timed out|unreachable|failed to fetch|network|no matching distribution|could not find a version' "$LOG"; then
        stop "no network: the packages of requirements.lock cannot be downloaded; connect, or set a proxy or mirror (HTTPS_PROXY, PIP_INDEX_URL, UV_INDEX_URL), then run make again ($LOG)"
    fi
    stop "installing failed: $(grep -v '^[[:space:]]*$' "$LOG" | tail -n 1) ($LOG)"
}

UV=
uv --version >/dev/null 2>&1 && UV=uv

if ! new_enough "$VENV/bin/python"; then
    python=$(find_python) || exit 1
    echo "pypistream: making $VENV with Python $(version_of "$python")${UV:+ and uv}, once" >&2
    if [ -n "$UV" ]; then
        problem=$(uv venv --quiet --clear --no-python-downloads --python "$python" "$VENV" 2>&1) \
            || stop "$VENV cannot be made: $(echo "$problem" | tail -n 1)"
    else
        "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 \
            || stop "$python has no venv module: install it (Debian, Ubuntu: apt install python3-venv), then run make again"
        problem=$("$python" -m venv --clear "$VENV" 2>&1) \
            || stop "$VENV cannot be made: $(echo "$problem" | tail -n 1)"
    fi
fi

echo "pypistream: installing the locked packages into $VENV" >&2
if [ -n "$UV" ]; then
    # pip compiles what it installs; uv must be told, or every start does it again where it may not
    # write into .venv.
    set -- uv pip install --quiet --compile-bytecode --python "$VENV/bin/python"
    # The second try needs no network when uv's cache has everything.
    "$@" --require-hashes -r requirements.lock >"$LOG" 2>&1 \
        || "$@" --offline --require-hashes -r requirements.lock >>"$LOG" 2>&1 \
        || explain
else
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 \
        || "$VENV/bin/python" -m ensurepip >"$LOG" 2>&1 \
        || stop "$VENV was made by uv and has no pip: remove it, then run make again"
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_RETRIES="${PIP_RETRIES:-2}"
    set -- "$VENV/bin/python" -m pip install --quiet
    "$@" --require-hashes -r requirements.lock >"$LOG" 2>&1 || explain
fi
# hatchling is among the locked packages, so this step downloads nothing.
"$@" --no-deps --no-build-isolation --editable . >>"$LOG" 2>&1 || explain
touch "$VENV/.ready"

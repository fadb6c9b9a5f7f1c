"""Ctrl-C while a command is only just beginning: it ends, and shows nobody its insides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Python's own start comes first, and is nobody's to mend: the first import of ours says that it is
# over. What a command does by then differs from machine to machine: many moments are tried.
_BEGUN = """
import os, sys
class Tell:
    def find_spec(self, name, path=None, target=None):
        if name == "pypistream.cli":
            os.write(2, b"begun")
sys.meta_path.insert(0, Tell())
sys.argv = ["pypistream", *sys.argv[1:]]
from pypistream.__main__ import main
main()
"""
MOMENTS = (0.0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.2)
LONG = "SELECT count(*) FROM range(1000000000000)"


@pytest.mark.parametrize("seconds", MOMENTS)
@pytest.mark.parametrize("arguments", [["query", LONG], ["status"], ["run"], ["upstream"]])
def test_no_traceback_however_early(arguments: list[str], seconds: float, tmp_path: Path) -> None:
    """It ended by itself, by the signal, or with 130 or 0; and it said nothing of Python's."""
    place = ["--port", "0"] if arguments == ["upstream"] else ["--data", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-c", _BEGUN, *arguments, *place],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYPISTREAM_CONTACT": ""},
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read(5) == b"begun"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()

    assert process.returncode in (0, 1, 2, 130, -signal.SIGINT)
    for word in ("Traceback", "KeyboardInterrupt", "nanobind", "Exception ignored"):
        assert word not in said

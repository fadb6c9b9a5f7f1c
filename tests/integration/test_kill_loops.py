"""The short forms of `make kill-loops`, `make full-disk` and `make bit-flips`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bit_flips import KINDS
from tests.support.kill_parts import PARTS
from tests.support.tools import needs

ROOT = Path(__file__).parents[2]
KILLS = 20
CYCLES = 2
pytestmark = pytest.mark.timeout(600)  # a hundred processes on a busy machine


def said(seed: int, module: str, *arguments: object) -> str:
    """What the program printed; it must not have failed."""
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.support.{module}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYPISTREAM_SEED": str(seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return ended.stdout


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_lost_by_any_kill(part: str, seed: int) -> None:
    """Kill -9, SIGSTOP, SIGTERM, a clock that jumps, a loop that stands: all is there, once."""
    assert f"{part}: {KILLS} kills" in said(seed, "kill_loop", part, KILLS)


@pytest.mark.parametrize("part", PARTS)
def test_a_full_disk_is_waited_out(part: str, seed: int) -> None:
    """It is said; with room again the work goes on by itself, and nothing is lost."""
    needs("mount")
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")

    assert f"{part}: {CYCLES} full disks, 0" in said(seed, "full_disks", part, CYCLES)


def test_a_flipped_bit_is_mended_from_the_log(seed: int) -> None:
    """In the live file, its write-ahead log, the snapshot, frames and dump: once in each."""
    assert f"{len(KINDS)} bit flips: 0" in said(seed, "bit_flips", len(KINDS))

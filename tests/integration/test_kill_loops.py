"""Each component is killed 20 times, at any moment: `make kill-loops` kills it 1000 times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kill_parts import PARTS

ROOT = Path(__file__).parents[2]
KILLS = 20


@pytest.mark.timeout(300)  # a hundred processes on a busy machine
@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_lost_by_any_kill(part: str, seed: int) -> None:
    """Kill -9, SIGSTOP, SIGTERM, a clock that jumps, a loop that stands: all is there, once."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.kill_loop", part, str(KILLS)],
        cwd=ROOT,
        env={**os.environ, "PYPISTREAM_SEED": str(seed)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr[-4000:]
    assert f"{part}: {KILLS} kills" in ended.stdout
    assert "0 violations" in ended.stdout

"""Documents made to hurt, to every parser: nothing crashes, each stays within its limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS_MIN = 1_000


@pytest.mark.timeout(600)  # 17 s of CPU
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_each_is_read_or_refused_within_its_limits() -> None:
    """CPU and memory of each are measured; a refusal names its reason."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.malice"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr[-4000:]
    assert int(ended.stdout.splitlines()[-1].split()[0]) >= DOCUMENTS_MIN

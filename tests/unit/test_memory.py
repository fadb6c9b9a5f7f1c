"""Large blocks go back to the system when they are freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FREE_ONE_THEN_HOLD = """
from pathlib import Path
from pypistream.memory import give_large_blocks_back

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

give_large_blocks_back()
bytearray(24 * 2**20)  # freed: from now on, by itself, glibc keeps blocks as large as this one
pinned = []
before = resident_mib()
for _ in range(8):
    large = bytearray(8 * 2**20)
    pinned.append(bytearray(100 * 1024))
    del large
print(resident_mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own setting")
def test_what_lies_behind_a_large_block_does_not_pin_it() -> None:
    """Without the setting the heap keeps what was freed before a small block."""
    ended = subprocess.run(
        [sys.executable, "-c", FREE_ONE_THEN_HOLD], capture_output=True, text=True, check=True
    )

    assert int(ended.stdout) < 8  # the small ones have 0.8 MiB

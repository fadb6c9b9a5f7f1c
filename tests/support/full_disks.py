"""A real disk that is full, again and again: `make full-disk CYCLES=50`.

python -m tests.support.full_disks PART CYCLES: a part of the kill loops works on a small tmpfs,
which is filled up until it says so and then given room again. It must go on by itself; then it is
killed, and what it left is looked at as after any kill. Needs root, to mount.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.support.chosen import chosen
from tests.support.kill_loop import Life, anew_max, look
from tests.support.kill_parts import PARTS, Part
from tests.support.simulate import quiet

SIZE = "96m"  # ten cycles of each part, and a checkpoint of DuckDB's beside what it replaces
CYCLES_EACH = 10  # in one directory
PIECE_BYTES = 1 << 20
WORK_SECONDS = (0.0, 0.1)
FULL_SECONDS = 0.05


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few MiB, there as long as it is entered."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(ballast: Path) -> None:
    """Take all the room there is, to the last byte."""
    with ballast.open("ab", buffering=0) as file:
        size = PIECE_BYTES
        while size:
            try:
                if not file.write(b"x" * size):
                    size //= 2
            except OSError:
                size //= 2


def cycle(part: Part, root: Path, chance: Random) -> bool:
    """Fill the disk once under a life, and make room again; whether `look` had it built anew."""
    ballast = root.parent / "ballast"
    life = Life(part, root)
    life.until(lambda: life.said > 0, "number")
    time.sleep(chance.uniform(*WORK_SECONDS))

    def refused() -> bool:
        fill(ballast)  # what a refused transaction gives back is taken, too
        return life.full > 0

    life.until(refused, "word of the full disk")
    time.sleep(FULL_SECONDS)
    life.listen(0)
    before = life.said
    ballast.unlink()
    life.until(lambda: life.said > before, "work after there was room")
    assert life.end(signal.SIGKILL) == -signal.SIGKILL
    return look(part, root, life.said)


def main(names: list[str], cycles: int, seed: int) -> None:
    """Every part in turn; the last line says what was done."""
    for name in names:
        chance, begun, anew = Random(seed), time.monotonic(), 0
        with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder)) as disk:
            for number in range(cycles):
                root = disk / f"life-{number // CYCLES_EACH}"
                if number % CYCLES_EACH == 0:
                    shutil.rmtree(disk / f"life-{number // CYCLES_EACH - 1}", ignore_errors=True)
                    root.mkdir()
                anew += cycle(PARTS[name], root, chance)
        assert anew <= anew_max(cycles), f"built anew after {anew} of {cycles} kills"
        seconds = time.monotonic() - begun
        sys.stdout.write(
            f"{name}: {cycles} full disks, 0 violations, {seconds:.0f} s, seed {seed}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    quiet()
    main(*chosen("make full-disk", PARTS, "cycles"))

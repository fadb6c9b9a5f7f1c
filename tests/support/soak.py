"""The whole program for as long as one likes, and what memory it has meanwhile: `make soak`.

python -m tests.support.soak MINUTES: a backfill, then changes at ten times PyPI's pace, a few lies
and outages, publications every few seconds. The resident memory of each process is looked at; the
most in the last third must not be more than a tenth above the most in the middle third.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.process import Program, started
from tests.support.standin import standin
from upstream.standin.settings import StandinSettings

PROJECTS = 1_500
CHANGES_PER_SECOND = 5.0
LOOK_SECONDS = 1.0
GROWTH_MAX = 1.1
MIB = 1 << 20
FLAGS = ("--poll", "1", "--settle", "0.3", "--snapshot-every", "5", "--dump-every", "5")

Looks = dict[str, list[int]]


def living(program: Program) -> Iterator[tuple[str, psutil.Process]]:
    """It and its children that live as long as it does, by what they are started as."""
    yield "run", psutil.Process(program.process.pid)
    for process in program.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[1:3] == ["-m", "pypistream"]:
                yield process.cmdline()[3], process


def watched(program: Program, seconds: float) -> Looks:
    """Resident bytes of each process, at each look; fails if one ends or begins anew."""
    found: Looks = defaultdict(list)
    pids: dict[str, int] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert program.alive, program.text()
        for role, process in living(program):
            assert pids.setdefault(role, process.pid) == process.pid, f"{role} began anew"
            found[role].append(process.memory_info().rss)
        time.sleep(LOOK_SECONDS)
    return found


def main(minutes: float) -> int:
    """The exit code; the last line says what was seen."""
    settings = StandinSettings(
        projects=PROJECTS, sizes="small", changes_per_second=CHANGES_PER_SECOND
    )
    with tempfile.TemporaryDirectory() as folder, standin(settings) as site:
        site.fault("stale", share=0.1, lag_seconds=2)
        site.fault("500", share=0.05)
        data = Path(folder) / "data"
        arguments = ("run", "--data", str(data), "--upstream", site.url, "--backfill", *FLAGS)
        with started(*arguments, "--rate", "0", cwd=Path(folder)) as program:
            looks = watched(program, minutes * 60)
            assert program.stop() == 0, program.text()
    grown = []
    for role, sizes in looks.items():
        third = len(sizes) // 3
        middle, last = max(sizes[third : 2 * third]), max(sizes[2 * third :])
        grown += [role] if last > GROWTH_MAX * middle else []
        sys.stdout.write(
            f"{role}: at most {middle / MIB:.0f} MiB in the middle third,"
            f" {last / MIB:.0f} MiB in the last ({last / middle:.2f} times)\n"
        )
    sys.stdout.write(f"{minutes:g} minutes: {', '.join(grown) or 'no process'} grew\n")
    return 1 if grown else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("minutes", type=float)
    sys.exit(main(parser.parse_args().minutes))

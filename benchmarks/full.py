"""SQL at the size of all PyPI: `python -m benchmarks.full [--projects N]`, or `make bench-full`.

Each step is a process of its own, on one world after another:

rebuild  `pypistream rebuild duckdb` from the log, all tables, published: projects a second
upsert   100 and 1000 changed projects with their position, until committed: median of the batches
publish  a snapshot, and how long changes wait that come in meanwhile
growth   450 000 changes to 886 000 projects, in proportion, at full speed, with publications and
         the file rewritten: the live file's largest size by that of a fresh build, and the
         longest time that either kept changes out
queries  four questions on the published file, opened anew: median of five

Memory is the peak resident set of a step with all processes that it starts; what they share is
counted once. PROJECTS=n sets the number of projects, WORLD=FOLDER
keeps what is made for the next time; PYPISTREAM_NAMES=FILE has real names. The last line is the
result; exit 1 if a figure is missed. `--write` puts the result into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from benchmarks.__main__ import commit, machine
from benchmarks.full_page import write_page
from benchmarks.full_steps import FRESH, STEPS
from benchmarks.full_world import filled
from pypistream.children.sinks_work import many_records
from pypistream.memory import give_large_blocks_back

PROJECTS = int(os.environ.get("PROJECTS", "886000"))
MIB = 2**20
LOOK_SECONDS = 0.5  # between two looks at the memory of a step: each takes some 10 ms

GOALS: dict[str, tuple[float, str, bool]] = {
    "rebuild.projects_per_second": (6_000, "projects/s, all tables", True),
    "upsert.batch_100_ms": (60, "ms, median", False),
    "upsert.batch_1000_ms": (1_000, "ms, median", False),
    "publish.seconds": (60, "s; the view takes batches in meanwhile", False),
    "publish.longest_wait_seconds": (1, "s that the stream waited", False),
    "growth.ratio": (1.5, "times a fresh build", False),
    "growth.longest_stall_seconds": (1, "s that publishing, rewriting kept changes out", False),
    "queries.reverse_dependencies_ms": (300, "ms, median of 5", False),
    "queries.newest_releases_ms": (300, "ms, median of 5", False),
    "queries.licences_ms": (300, "ms, median of 5", False),
    "queries.musllinux_files_ms": (300, "ms, median of 5", False),
    "queries.dependents": (50_000, "dependents of requests, in proportion", True),
    "peak_mib": (1_024, "MiB resident, the largest of all steps but growth", False),
    "growth.step_peak_mib": (2_048, "MiB resident: the sink, and who rewrites its file", False),
}
"""By the path in the result: the figure, its unit, and whether more is better."""

PROJECTS_MIN = 1_000  # the largest batch of changes that is measured
ALL_PROJECTS = 886_000  # what `queries.dependents` is in proportion to


def child(*command: str) -> tuple[str, dict[str, float]]:
    """What a program says, with its seconds of the clock and the CPU and its peak in MiB."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    ended, seen = Event(), [0]
    watching = Thread(target=_watch, args=(process.pid, ended, seen))
    watching.start()
    assert process.stdout is not None
    with process.stdout as out:
        text = out.read()
    ended.set()
    watching.join()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return text, {
        "seconds": round(time.monotonic() - begun, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": round(max(used.ru_maxrss / 1024, max(seen) / MIB)),
    }


def _watch(pid: int, ended: Event, seen: list[int]) -> None:
    """Add the bytes that a process and those it started have together, until it is over."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        while not ended.wait(LOOK_SECONDS):
            together = 0
            for each in (first, *first.children(recursive=True)):
                with contextlib.suppress(psutil.Error):  # one that has ended since
                    together += each.memory_full_info().pss
            seen.append(together)


def rebuild(folder: Path, projects: int) -> dict[str, float]:
    """The DuckDB file, from the log."""
    own = (sys.executable, "-m", "pypistream", "rebuild", "duckdb")
    _, took = child(*own, "--data", str(folder / "data"))
    size = (folder / "data" / "pypi.duckdb").stat().st_size
    (folder / FRESH).write_text(str(size))
    return {
        "projects_per_second": round(projects / took["seconds"]),
        "projects_per_cpu_second": round(projects / took["cpu_seconds"]),
        "file_mib": round(size / MIB, 1),
        **took,
    }


def step(name: str, folder: Path, projects: int) -> dict[str, float]:
    """One of STEPS, in a process of its own."""
    own = (sys.executable, "-m", "benchmarks.full", "--step", name)
    text, took = child(*own, "--world", str(folder), "--projects", str(projects))
    return {**json.loads(text.splitlines()[-1]), **{f"step_{key}": took[key] for key in took}}


def measure(folder: Path, projects: int) -> dict[str, Any]:
    """All steps, one after another."""
    say(f"filling a log with {projects} projects")
    begun = time.monotonic()
    own = (sys.executable, "-m", "benchmarks.full", "--step", "world")
    child(*own, "--world", str(folder), "--projects", str(projects))
    result: dict[str, Any] = {
        "projects": projects,
        "fill_seconds": round(time.monotonic() - begun, 1),
        "log_mib": round((folder / "data/log.sqlite").stat().st_size / MIB, 1),
    }
    say("rebuild")
    result["rebuild"] = rebuild(folder, projects)
    for name in STEPS:
        say(name)
        result[name] = step(name, folder, projects)
    # While the file is rewritten there are two open ones in two processes, each with its own limit
    # (ADR 027): what is bounded at 1 GiB is what anybody needs to load, publish, follow and ask.
    peaks = [result[name]["step_peak_mib"] for name in STEPS if name != "growth"]
    result["peak_mib"] = max(result["rebuild"]["peak_mib"], *peaks)
    return result


def say(text: str) -> None:
    """What is going on, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def figure(result: dict[str, Any], path: str) -> float:
    """A figure by its path."""
    found: Any = result
    for part in path.split("."):
        found = found[part]
    return float(found)


def judged(result: dict[str, Any]) -> Iterator[tuple[str, float, float, str, bool]]:
    """Path, figure, goal, unit, and whether it was reached."""
    for path, (goal, unit, more) in GOALS.items():
        due = goal
        if path == "queries.dependents":
            due = goal * result["projects"] / ALL_PROJECTS
        found = figure(result, path)
        yield path, found, due, unit, found >= due if more else found <= due


@contextlib.contextmanager
def place_of(world: str) -> Iterator[Path]:
    """The folder that is kept, or one that is gone afterwards."""
    if world:
        yield Path(world).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="pypistream-full-") as place:
        yield Path(place)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a figure is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.full", description=__doc__)
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--world", default=os.environ.get("WORLD", ""), help="a folder to keep")
    parser.add_argument("--write", action="store_true", help="put it into docs/benchmarks.md")
    parser.add_argument("--step", choices=["world", *STEPS], help="one alone; for its own process")
    given = parser.parse_args(arguments)
    if given.projects < PROJECTS_MIN:
        parser.error(f"{given.projects} projects: a batch changes {PROJECTS_MIN} of them")
    with place_of(given.world) as folder:
        if given.step:
            steps: dict[str, Callable[[Path, int], object]] = {"world": filled, **STEPS}
            give_large_blocks_back()  # both as in the process of the sinks
            with many_records():
                print(json.dumps(steps[given.step](folder, given.projects)))
            return 0
        result = {"about": {"date": time.strftime("%Y-%m-%d"), "commit": commit(), **machine()}}
        result |= measure(folder, given.projects)
    print(json.dumps(result, indent=1))
    rows = list(judged(result))
    for path, found, goal, unit, reached in rows:
        print(f"{'reached' if reached else 'MISSED '}  {path}: {found:g} ({goal:g} {unit})")
    if given.write:
        write_page(result, rows)
    missed = [path for path, *_, reached in rows if not reached]
    print(f"missed: {', '.join(missed)}" if missed else "all figures reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""A whole backfill against the stand-in: `python -m benchmarks.backfill [--projects N] [--json]`.

The stand-in runs in a process of its own, its corpus made beforehand. Measured, one after another:

bare      httpx alone: GET of every document of the index, 8 in flight, decoded, thrown away
run       `pypistream run --once --backfill --rate 0 --once-wait 0`, all sinks, from start to exit
slow      the same with `--in-flight 16` while every answer takes 40 ms, on fewer projects
double    the same as `run` on twice the projects: does its memory stay flat?

Memory is the peak resident set (VmHWM) of the run's own process, and of its sinks' process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

PROJECTS = 20_000
SLOW_PROJECTS = 20_000  # as many: start and end weigh less
LATENCY_MS = 40
BARE_IN_FLIGHT = 8
SAMPLE_SECONDS = 0.1
START_SECONDS = 600.0  # a corpus of 40 000 real sizes is made in a minute
CACHE = Path(tempfile.gettempdir()) / "pypistream-benchmark-corpus"
PEER = {"run": 206.0, "slow": 20.9}  # projects/s of pypicache on the same kind of machine


class Run(NamedTuple):
    """One measured run. Peaks in MiB."""

    projects: int
    seconds: float
    projects_per_second: float
    run_peak_mib: float
    sinks_peak_mib: float
    cpu_seconds: float


@contextmanager
def standin(projects: int, latency_ms: float = 0) -> Iterator[str]:
    """URL of a stand-in with real sizes that lives as long as the block."""
    command = [sys.executable, "-m", "upstream.standin", "--port", "0", "--cache", str(CACHE)]
    command += ["--projects", str(projects), "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("listening on "):
                raise SystemExit("the stand-in did not start")
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()


def names(url: str) -> list[str]:
    """Every name of the index."""
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{url}/simple/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return [project["name"] for project in json.load(answer)["projects"]]


async def _bare(url: str) -> float:
    todo = iter(names(url))

    async def worker(client: httpx.AsyncClient) -> None:
        for name in todo:
            await client.get(f"{url}/pypi/{name}/json")

    async with httpx.AsyncClient(follow_redirects=True, timeout=60) as client:
        await asyncio.gather(*(worker(client) for _ in range(BARE_IN_FLIGHT)))
    return time.perf_counter()


def bare(url: str) -> float:
    """Projects a second of httpx alone, in this process."""
    count = len(names(url))
    started = time.perf_counter()
    return count / (asyncio.run(_bare(url)) - started)


def run(url: str, projects: int, *extra: str) -> Run:
    """One `pypistream run` from start to exit."""
    with tempfile.TemporaryDirectory(prefix="pypistream-bench-") as data:
        command = [sys.executable, "-m", "pypistream", "run", "--data", data, "--upstream", url]
        command += ["--once", "--backfill", "--rate", "0", "--once-wait", "0", *extra]
        started = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            peaks = _watch(psutil.Process(process.pid), process)
            seconds = time.perf_counter() - started
            if process.returncode:
                raise SystemExit(f"the run ended with {process.returncode}")
    return Run(projects, seconds, projects / seconds, *peaks)


def _watch(root: psutil.Process, process: subprocess.Popen[bytes]) -> tuple[float, float, float]:
    """Peaks of the run and of its sinks, and the CPU seconds of both, until the run ends."""
    peaks = {"run": 0.0, "sinks": 0.0}
    cpu: dict[int, float] = {}
    while process.poll() is None:
        try:
            for each in (root, *root.children()):
                role = "run" if each.pid == root.pid else "sinks"
                peaks[role] = max(peaks[role], _high_water_mib(each.pid))
                times = each.cpu_times()
                cpu[each.pid] = times.user + times.system
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            pass  # it ended while we looked
        time.sleep(SAMPLE_SECONDS)
    return peaks["run"], peaks["sinks"], sum(cpu.values())


def _high_water_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(projects: int, *, double: bool) -> dict[str, Any]:
    """All figures as one JSON-able object."""
    with standin(projects) as url:
        bare_rate = bare(url)
        ours = run(url, projects)
    slow_projects = min(SLOW_PROJECTS, projects)
    with standin(slow_projects, LATENCY_MS) as url:
        slow = run(url, slow_projects, "--in-flight", "16")
    result: dict[str, Any] = {
        "bare_per_second": bare_rate,
        "run": ours._asdict(),
        "run_to_bare": ours.projects_per_second / bare_rate,
        "slow": slow._asdict(),
        "latency_ms": LATENCY_MS,
        "peer": PEER,
    }
    if double:
        with standin(2 * projects) as url:
            result["double"] = run(url, 2 * projects)._asdict()
    return result


def table(result: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [
        f"{'':8}{'projects':>9}{'s':>8}{'per s':>8}{'peak MiB':>10}{'sinks MiB':>11}{'CPU s':>8}"
    ]
    for name in ("run", "slow", "double"):
        if name in result:
            row = Run(**result[name])
            lines.append(
                f"{name:8}{row.projects:9}{row.seconds:8.1f}{row.projects_per_second:8.0f}"
                f"{row.run_peak_mib:10.0f}{row.sinks_peak_mib:11.0f}{row.cpu_seconds:8.1f}"
            )
    lines.append(
        f"bare httpx {result['bare_per_second']:.0f}/s; ours is {result['run_to_bare']:.2f} of it"
    )
    lines.append(f"the peer: {PEER['run']:.0f}/s, with 40 ms an answer {PEER['slow']:.1f}/s")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, then print a table, or JSON with --json."""
    parser = argparse.ArgumentParser(prog="benchmarks.backfill", description=__doc__)
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--no-double", action="store_true", help="leave out twice the projects")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    given = parser.parse_args(arguments)
    result = measure(given.projects, double=not given.no_double)
    print(json.dumps(result) if given.json else table(result))


if __name__ == "__main__":
    main()

"""`make bench`: every benchmark, its figures beside the last committed ones.

Each result is appended to `benchmarks/results/<name>.jsonl` with machine, date and commit; commit
the file to keep it. `--dry` measures and prints only. ARGS="trim" picks, `http` only when named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.on_broker import BROKER

RESULTS = Path(__file__).parent / "results"
NAMES = (
    "trim",
    "reconcile",
    "backfill",
    "bootstrap",
    "dump",
    "freshness",
    "kafka",
    "scaleout",
    "sse",
)
WHEN_NAMED = ("http",)  # half an hour, and wrk and nginx are not everywhere
WANT_BROKER = {"kafka", "scaleout"}
MEM_INFO = Path("/proc/meminfo")
CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines(CPU_INFO) if "model name" in line), ""
    )
    memory = next((line.split()[1] for line in _lines(MEM_INFO) if "MemTotal" in line), "0")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def commit() -> str:
    """Short name of the commit that is measured; `+` if the work tree differs from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def last(name: str) -> dict[str, Any] | None:
    """The newest kept result of a benchmark."""
    lines = _lines(RESULTS / f"{name}.jsonl")
    found: dict[str, Any] | None = json.loads(lines[-1]) if lines else None
    return found


def figures(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a result, under its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from figures(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from figures(inner, f"{path}[{number}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def beside(now: dict[str, Any], before: dict[str, Any] | None) -> str:
    """A table: figure, now, last time."""
    old = dict(figures(before["result"])) if before else {}
    rows = [f"  {'':48}{'now':>12}{'last':>12}"]
    for name, value in figures(now["result"]):
        was = f"{old[name]:12.2f}" if name in old else f"{'-':>12}"
        rows.append(f"  {name:48}{value:12.2f}{was}")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> None:
    """Run what was asked for, print it, keep it."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, *WHEN_NAMED, []], help="all but http")
    parser.add_argument("--dry", action="store_true", help="keep nothing")
    given = parser.parse_args(arguments)
    for name in given.names or NAMES:
        if name in WANT_BROKER and not os.environ.get(BROKER):
            print(f"{name}: skipped, for {BROKER}=HOST:PORT names no broker", flush=True)
            continue
        print(f"{name}: measuring", flush=True)
        about = {"date": datetime.now(UTC).date().isoformat(), "commit": commit(), **machine()}
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        now = {"about": about, "result": json.loads(done.stdout)}
        before = last(name)
        print(beside(now, before))
        for figure, text in now["result"].get("covers", {}).items():
            print(f"  {figure}: {text}")
        if before:
            print(f"  last: {before['about']}")
        print(f"  now:  {about}", flush=True)
        if not given.dry:
            RESULTS.mkdir(exist_ok=True)
            with (RESULTS / f"{name}.jsonl").open("a") as kept:
                kept.write(json.dumps(now) + "\n")


if __name__ == "__main__":
    main()

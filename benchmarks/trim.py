"""CPU time of `trim` beside the stdlib's json: `python -m benchmarks.trim [--runs N] [--json]`.

Four ways over the same bodies, alternating, the median of N runs each:

load_dump  json.dumps(json.loads(body)): the stdlib reads and writes the document, nothing more
same_work  the stdlib does what trim does but ordering and hash: trimmed document and slim form
latest     trim(..., all_releases=False): the trimmed document and its hash
trim       trim(...): the trimmed document, the slim form of all releases, the hash of both

All checks of a hostile body are included, UTF-8 too; the memory of version keys is empty at the
start of every run. The recorded documents are the whole set where PYPISTREAM_RECORDED names its
folder, else the repository's selection: that one holds oddities, so its figures are the worst case.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from processors.trim import trim
from processors.versions import version_key
from schemas.names import NormalizedName
from tests.support import oracle
from tests.support.documents import body, document, file, recorded

RUNS = 7
RUNS_MIN = 5
SMALL_BYTES, LARGE_BYTES = 8 * 1024, 64 * 1024  # size classes of real documents
SYNTHETIC = {"8 KB": 4, "64 KB": 35, "1 MB": 550, "4 MB": 2200}  # releases, two files each
SYNTHETIC_BYTES = 8 * 1024 * 1024  # bodies of one size are repeated up to this much

COVERS = {
    "latest_vs_load_dump": "the trimmed document and its hash; the stdlib reads and writes the"
    " whole document. UTF-8 is checked. Wanted: 4",
    "trim_vs_load_dump": "what the worker needs: that, the slim form of all releases and its hash;"
    " the stdlib writes one document still",
    "trim_vs_same_work": "the same; the stdlib makes both outputs, neither ordered nor hashed",
}


class Body(NamedTuple):
    """One document and the name it was asked for under."""

    asked: NormalizedName
    raw: bytes


def load_dump(one: Body) -> None:
    """What any Python program pays at least."""
    json.dumps(json.loads(one.raw))


def same_work(one: Body) -> None:
    """Both outputs of `trim`, neither ordered nor hashed."""
    whole = json.loads(one.raw)
    info, releases = whole["info"], whole.get("releases", {})
    info.pop("description", None)
    slim = {
        version: [oracle.slim_file(each) for each in files] for version, files in releases.items()
    }
    latest = info.get("version")
    whole["releases"] = {version: files for version, files in releases.items() if version == latest}
    json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
    json.dumps(slim, ensure_ascii=False, separators=(",", ":")).encode()


def latest(one: Body) -> None:
    """The trimmed document alone."""
    trim(one.raw, one.asked, header_serial=1, all_releases=False)


def everything(one: Body) -> None:
    """What the worker calls."""
    trim(one.raw, one.asked, header_serial=1)


WAYS: dict[str, Callable[[Body], None]] = {
    "load_dump": load_dump,
    "same_work": same_work,
    "latest": latest,
    "trim": everything,
}


def corpora() -> dict[str, list[Body]]:
    """Real documents as recorded and as today's server would write them; synthetic ones by size."""
    real = [
        Body(NormalizedName(each.asked), each.body) for each in recorded() if each.grade in "WFV"
    ]
    now = [Body(each.asked, body(json.loads(each.raw))) for each in real]
    today = [each for each in now if b'"upload_time_iso_8601"' in each.raw]
    found = {
        "recorded": real,
        "recorded, compact": now,
        "recorded, today's keys": today,
        "  up to 8 KB": [each for each in today if len(each.raw) <= SMALL_BYTES],
        "  8 to 64 KB": [each for each in today if SMALL_BYTES < len(each.raw) <= LARGE_BYTES],
        "  over 64 KB": [each for each in today if len(each.raw) > LARGE_BYTES],
    }
    for name, releases in SYNTHETIC.items():
        one = synthetic(releases)
        found[f"synthetic {name}"] = [one] * max(1, SYNTHETIC_BYTES // len(one.raw))
    return {name: bodies for name, bodies in found.items() if bodies}


def synthetic(releases: int) -> Body:
    """A document of today's shape; every file has texts of its own."""
    versions = [f"{n // 100}.{n // 10 % 10}.{n % 10}" for n in range(releases)]
    value = document(*versions, name="synthetic", description="Some text. \u2603 " * 60)
    for version in versions:
        value["releases"][version] = [
            file(f"synthetic-{version}{end}", size=len(version), requires_python=">=3.10")
            for end in (".tar.gz", "-py3-none-any.whl")
        ]
    value["urls"] = value["releases"][versions[-1]]
    return Body(NormalizedName("synthetic"), body(value))


def measure(bodies: list[Body], runs: int) -> dict[str, Any]:
    """Median CPU seconds of each way, and ratios of medians."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(runs):
        for name, way in WAYS.items():
            version_key.cache_clear()
            begin = time.process_time()
            for one in bodies:
                way(one)
            seconds[name].append(time.process_time() - begin)
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "documents": len(bodies),
        "bytes": sum(len(one.raw) for one in bodies),
        "cpu_seconds": {name: round(taken, 6) for name, taken in median.items()},
        "latest_vs_load_dump": round(median["load_dump"] / median["latest"], 2),
        "trim_vs_load_dump": round(median["load_dump"] / median["trim"], 2),
        "trim_vs_same_work": round(median["same_work"] / median["trim"], 2),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, then print a table, or JSON with --json."""
    parser = argparse.ArgumentParser(prog="benchmarks.trim", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"at least {RUNS_MIN}")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    given = parser.parse_args(arguments)
    runs = max(RUNS_MIN, given.runs)
    results = {name: measure(bodies, runs) for name, bodies in corpora().items()}
    if given.json:
        report = {
            "benchmark": "trim",
            "runs": runs,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "covers": COVERS,
            "corpora": {name.strip(): result for name, result in results.items()},
        }
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
        return
    line = "{:24} {:>9} {:>11} {:>14} {:>14} {:>14}\n".format
    sys.stdout.write(
        line("corpus", "documents", "bytes", "latest/ld+dump", "trim/ld+dump", "trim/same work")
    )
    for name, result in results.items():
        sys.stdout.write(
            line(
                name,
                result["documents"],
                result["bytes"],
                f"{result['latest_vs_load_dump']:.2f} x",
                f"{result['trim_vs_load_dump']:.2f} x",
                f"{result['trim_vs_same_work']:.2f} x",
            )
        )
    for ratio, text in COVERS.items():
        sys.stdout.write(f"{ratio}: {text}\n")


if __name__ == "__main__":
    main()

"""Every n-th call breaks, in every way: `make nth-call`, PYPISTREAM_SEED=n replays.

First the pipeline with its log, client and dump sink (`nth_call`), then the DuckDB sink
(`nth_view`): as it takes changes in, as it makes the tables of a new file, and as it writes a file
anew. The last line is the result, the exit code is 1 if anything was wrong. One of 20 shares
(`ARGS="--share 1/20"`) takes two minutes; of one seed, all of them are the whole.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from random import Random

from tests.support import nth_call, nth_view, simulate
from tests.support.chosen import own_seed
from tests.support.nth_call import Way
from tests.support.nth_view import Case

CASES = {"duckdb": Case.USUAL, "tables": Case.NEW, "rewriting": Case.REWRITTEN}
PARTS = ["pipeline", *CASES]
CHUNK = 20  # runs handed to a process at once
LINES_SHOWN = 3
CODES = {Way.FULL: errno.ENOSPC, Way.BROKEN: errno.EIO, Way.KILLED: 0}

Task = tuple[str, int, int, Way]
"""Which part, the run's seed, the number of the call that breaks, and how."""


def calls_of(part: str, seed: int) -> int:
    """How many calls a run makes in which nothing breaks; fails if something is wrong in that."""
    if part == "pipeline":
        wrong, made = nth_call.broken_at(seed, 0, Way.FULL)
        count = made.total()
    elif part == "tables":
        wrong, count = [], nth_view.calls_to_make()
    else:
        wrong, count = nth_view.broken_at(seed, case=CASES[part])
    assert not wrong, wrong
    return count


def problems_of(task: Task) -> list[str]:
    """What is wrong after one run; an error that ended it is wrong, too."""
    part, seed, n, way = task
    try:
        if part == "pipeline":
            return nth_call.broken_at(seed, n, way)[0]
        return nth_view.broken_at(seed, n - 1, CODES[way], CASES[part])[0]
    except Exception as error:  # noqa: BLE001  # whatever it is, the call is to be told
        return [f"the run ended: {error!r}"]


def every(part: str, seed: int) -> list[Task]:
    """All runs of a part."""
    return [(part, seed, n, way) for n in range(1, calls_of(part, seed) + 1) for way in Way]


def share(tasks: list[Task], told: str) -> list[Task]:
    """`told`: I/N, 1/1 is all of them; each of the N shares reaches over the whole run."""
    which, of = map(int, told.split("/"))
    if not 1 <= which <= of:
        raise ValueError(told)
    return tasks[which - 1 :: of]


def spread(part: str, seed: int, runs: int) -> list[Task]:
    """Some of them: one out of each of `runs` equal stretches, in the ways by turns."""
    rng, count, ways = Random(seed), calls_of(part, seed), list(Way)
    stretch = count / runs
    return [
        (part, seed, 1 + int(i * stretch + rng.random() * stretch), ways[i % len(ways)])
        for i in range(runs)
    ]


def _results(
    tasks: list[Task], jobs: int, judge: Callable[[Task], list[str]]
) -> Iterator[tuple[Task, list[str]]]:
    if jobs == 1:
        yield from zip(tasks, map(judge, tasks), strict=True)
        return
    with ProcessPoolExecutor(jobs, initializer=simulate.quiet) as processes:
        yield from zip(tasks, processes.map(judge, tasks, chunksize=CHUNK), strict=True)


def main(seed: int, parts: list[str], jobs: int, told: str = "1/1") -> int:
    """Play a share of all runs; the exit code."""
    begun = time.monotonic()
    failed, runs, counts = 0, 0, []
    for part in parts:
        whole = every(part, seed)
        tasks = share(whole, told)
        counts.append(f"{len(whole) // len(Way)} calls of the {part}")
        for (_, _, n, way), problems in _results(tasks, jobs, problems_of):
            runs += 1
            failed += bool(problems)
            for text in problems[:LINES_SHOWN]:
                sys.stdout.write(f"{part}, call {n}, {way.name}: {text}\n")
                sys.stdout.flush()
    seconds = time.monotonic() - begun
    played = f"{' and '.join(counts)}, {runs} runs ({told}) in {seconds:.0f} s"
    sys.stdout.write(f"seed {seed}: {played}: {failed} with violations\n")
    return 1 if failed else 0


if __name__ == "__main__":
    simulate.quiet()
    parser = argparse.ArgumentParser(prog="make nth-call")
    parser.add_argument("parts", nargs="*", default=PARTS)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--share", default="1/1", metavar="I/N")
    given = parser.parse_args()
    own = own_seed()
    sys.exit(main(own, given.parts, given.jobs, given.share))

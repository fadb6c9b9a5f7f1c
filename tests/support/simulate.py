"""Many seeded schedules, on every core: `make simulate SEEDS=1000`, PYPISTREAM_SEED=n replays.

A seed that fails is printed with what is wrong, made shorter, and kept in the corpus, which every
run of the tests plays. `--history FILE` records one seed's run for the checker instead. The last
line is the result, the exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import structlog

from tests.support import sim_schedule
from tests.support.chosen import own_seed
from tests.support.sim_schedule import Schedule
from tests.support.simulation import Outcome, Simulation

CORPUS = Path(__file__).parents[1] / "data" / "schedules.jsonl"
SEEDS = 1_000
CHUNK = 20  # schedules handed to a process at once: one of them is with DuckDB
TOLD_EVERY = 1_000
LINES_SHOWN = 5


def quiet() -> None:
    """The roles' own warnings are of no interest: there are thousands."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def settled() -> None:
    """Let cycles be looked for after a schedule only, and only among what it made: 8 % less CPU."""
    quiet()
    gc.collect()
    gc.freeze()
    gc.disable()


def problems_of(schedule: Schedule) -> list[str]:
    """What is wrong after a schedule; an error that ended it is wrong, too."""
    try:
        return played(schedule).problems
    except Exception as error:  # noqa: BLE001  # whatever it is, the seed is to be told
        return [f"the run ended: {error!r}", *traceback.format_exc().splitlines()[-LINES_SHOWN:]]


def played(schedule: Schedule) -> Outcome:
    """One schedule, played."""
    return Simulation(schedule).play()


def shortest(schedule: Schedule) -> Schedule:
    """The same, made shorter as long as something is wrong by the same invariant."""
    kinds = {text.partition(" ")[0] for text in problems_of(schedule)}

    def fails(candidate: Schedule) -> bool:
        return bool(kinds & {text.partition(" ")[0] for text in problems_of(candidate)})

    return sim_schedule.shrunk(schedule, fails)


def corpus() -> list[Schedule]:
    """Every schedule that was kept."""
    lines = CORPUS.read_text("utf-8").splitlines()
    return [sim_schedule.read(line) for line in lines if line]


def kept(schedule: Schedule) -> None:
    """Add one to the corpus."""
    with CORPUS.open("a", encoding="utf-8") as file:
        file.write(f"{schedule}\n")


def _of_seed(seed: int) -> tuple[int, list[str]]:
    problems = problems_of(sim_schedule.drawn(seed))
    gc.collect()  # 2 ms, 10 MiB
    return seed, problems


def _results(seeds: range, jobs: int) -> Iterator[tuple[int, list[str]]]:
    if jobs == 1:
        yield from map(_of_seed, seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=settled) as processes:
        yield from processes.map(_of_seed, seeds, chunksize=CHUNK)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _told(seed: int, problems: list[str]) -> None:
    _say(f"seed {seed}: {len(problems)} violations")
    for text in list(dict.fromkeys(problems))[:LINES_SHOWN]:
        _say(f"  {text}")
    short = shortest(sim_schedule.drawn(seed))
    _say(f"  shortest: {len(short.events)} events, faults {[f.kind for f in short.faults]}")
    _say(f"  {short}")
    kept(short)


def main(count: int, first: int, jobs: int) -> int:
    """Play; the exit code."""
    begun = time.monotonic()
    failed = 0
    for number, (seed, problems) in enumerate(_results(range(first, first + count), jobs), 1):
        if problems:
            failed += 1
            _told(seed, problems)
        if number % TOLD_EVERY == 0 and number < count:
            _say(f"{number} of {count} seeds, {failed} failed")
    seconds = time.monotonic() - begun
    _say(f"{count} seeds from {first} on in {seconds:.0f} s: {failed} with violations")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("seeds", type=int, nargs="?", default=SEEDS)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--history", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    quiet()
    own = own_seed()
    if given.history:
        played(sim_schedule.drawn(own)).history.save(given.history)
        sys.exit(0)
    sys.exit(main(given.seeds, own, given.jobs))

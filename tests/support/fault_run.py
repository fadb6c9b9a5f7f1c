"""One fault against the real program: healthy, spoilt for 20 s under sixty changes, healed, judged.

Stand-in and program are processes of their own. The program begins on a copy of a directory that
was filled from an equal stand-in (equal seeds serve equal bytes), so every run starts caught up.
"""

from __future__ import annotations

import contextlib
import functools
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.fault_events import (
    SPREAD_SECONDS_MAX,
    all_truth,
    event_kinds,
    last_serial,
    make_event,
    touch_all,
)
from tests.support.fault_scenes import Lie, Scene
from tests.support.process import Program, started
from tests.support.published import Dump, read_dump
from tests.support.standin import Site, standin_process
from tests.support.truth import Judge, Wrong

PROJECTS = 150
RATE = 20  # requests per second
IN_FLIGHT = 8
CONTROL_MAX = 2  # connections for journal and map
OPTIONS = (
    f"--rate={RATE}", f"--in-flight={IN_FLIGHT}", "--poll=1", "--settle=1", "--snapshot-every=3",
    "--dump-every=3", "--backfill",
)  # fmt: skip
FAULT_SECONDS = 20.0
# Names are asked again ever later. On a machine so busy that sixty changes take minutes the fault
# is over before they are: else some names' next turn is more than a minute away.
FAULT_SECONDS_MAX = 30.0
EVENTS_SECONDS = 19.0  # the rows of the last one come under the fault, too
# Were the journal spoilt all the time nothing would be asked for: where both are, documents are
# spoilt for the 20 s and the journal for the second half of them.
JOURNAL_AFTER_SECONDS = 10.0
CONVERGE_SECONDS_MAX = 60.0
START_SECONDS_MAX = 240.0
STOP_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.5
WRONG_SHOWN_MAX = 5


@dataclass
class Ended:
    """What came of a scene. `seconds`: from healing until all that is published was the truth."""

    kind: str
    outcome: str = "the truth"
    seconds: float | None = None
    hits: int = 0
    requests: int = 0
    early: int = 0
    window: int = 0
    documents: int = 0
    control: int = 0
    lines: int = 0
    problems: list[str] = field(default_factory=list)


def prepare(folder: Path, seed: int) -> Path:
    """A data directory caught up with a stand-in of this seed, to be copied."""
    folder.mkdir()
    with standin_process(PROJECTS, seed) as site, _program(folder, site) as program:
        wrong = _until_right(folder / "data", Judge(all_truth(site)), START_SECONDS_MAX, program)
        assert not wrong, wrong
        assert program.stop(signal.SIGTERM, STOP_SECONDS_MAX) == 0, program.text()
    return folder / "data"


def play(scene: Scene, folder: Path, prepared: Path, seed: int) -> Ended:
    """Run one scene from start to end; what is wrong is in `problems`."""
    folder.mkdir()
    if not scene.from_start:
        shutil.copytree(prepared, folder / "data")
    try:
        with standin_process(PROJECTS, seed) as site:
            run = _Run(scene, folder, site, random.Random(f"{seed} {scene.kind}"))
            run.act()
            run.look_at_manners()
    except AssertionError as error:
        return Ended(scene.kind, "failed", problems=[str(error)])
    if not run.ended.problems:
        shutil.rmtree(folder)
    return run.ended


class _Run:
    """One scene under way."""

    def __init__(self, scene: Scene, folder: Path, site: Site, generator: random.Random) -> None:
        self.ended = Ended(scene.kind)
        self._scene = scene
        self._folder = folder
        self._site = site
        self._random = generator

    def act(self) -> None:
        if self._scene.from_start:
            self._site.fault(self._scene.kind, seconds=START_SECONDS_MAX)
        with _program(self._folder, self._site) as program:
            program.until(self._polled_twice, START_SECONDS_MAX, "second poll")
            self._under_fault(program)
            if self._scene.ends:
                self._has_ended(program, self._scene.ends)
            self._site.heal()
            if not self._scene.ends:
                self._comes_right(program)
                self._stops(program)
        if self._scene.ends:
            with _program(self._folder, self._site) as program:
                self._comes_right(program)
                self._stops(program)

    def _polled_twice(self) -> bool:
        polls: dict[str, int] = self._site.control("stats")["requests"].get("xmlrpc", {})
        return sum(polls.values()) > 1

    def _under_fault(self, program: Program) -> None:
        """Twenty seconds, and sixty changes spread over them."""
        kinds = event_kinds(self._random)
        plan: list[tuple[float, Callable[[], object]]] = [
            (
                EVENTS_SECONDS * number / len(kinds),
                functools.partial(make_event, self._site, kind, self._random),
            )
            for number, kind in enumerate(kinds)
        ]
        if not self._scene.from_start:
            for place, route in enumerate(self._scene.routes):
                fault = functools.partial(
                    self._site.fault, self._scene.kind, route=route, seconds=FAULT_SECONDS_MAX
                )
                plan.insert(0, (JOURNAL_AFTER_SECONDS * place, fault))
        begun = time.monotonic()
        for moment, step in sorted(plan, key=lambda each: each[0]):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            step()
            assert program.alive or self._scene.ends, _end_of(program)
        whole = max(FAULT_SECONDS, EVENTS_SECONDS + SPREAD_SECONDS_MAX)
        time.sleep(max(0.0, begun + whole - time.monotonic()))

    def _comes_right(self, program: Program) -> None:
        """Within a minute of healing, without one more change."""
        begun = time.monotonic()
        if self._scene.lie is not None:
            self._shows_lie(program, self._scene.lie)
            begun = time.monotonic()
        serial = last_serial(self._site)
        judge = Judge(all_truth(self._site))
        wrong = _until_right(self._data, judge, CONVERGE_SECONDS_MAX, program)
        if wrong:
            self._problem(f"{len(wrong)} wrong or missing a minute after:{_shown(wrong)}")
        else:
            self.ended.seconds = time.monotonic() - begun
        assert serial == last_serial(self._site), "a change came after healing"

    def _shows_lie(self, program: Program, lie: Lie) -> None:
        """Only the lie itself is left of the fault; then every project changes once more."""
        last_serial(self._site)
        judge = Judge(all_truth(self._site))
        end = time.monotonic() + CONVERGE_SECONDS_MAX
        wrong = _until_right(self._data, judge, LOOK_SECONDS, program)
        while any(not text.startswith(lie.shows) for text in wrong.values()):
            if time.monotonic() > end:
                self._problem(f"more than the lie is left:{_shown(wrong)}")
                break
            wrong = _until_right(self._data, judge, LOOK_SECONDS, program)
        self.ended.outcome = f"{len(wrong)} believed the lie until their next change"
        touch_all(self._site)

    def _stops(self, program: Program) -> None:
        code = program.stop(signal.SIGTERM, STOP_SECONDS_MAX)
        if code != 0:
            self._problem(f"exit {code} after SIGTERM")
        said = program.text()
        self.ended.lines = len(said.splitlines())
        if "Traceback" in said:
            self._problem(f"a traceback:\n{said}")

    def _has_ended(self, program: Program, message: str) -> None:
        """By itself, with exit 1 and that message, not with a traceback."""
        code = program.wait(STOP_SECONDS_MAX)
        said = program.text()
        self.ended.outcome = "stopped and said why; the truth after a restart"
        if code != 1 or message not in said or "Traceback" in said:
            self._problem(f"exit {code}, said:\n{said}")

    def look_at_manners(self) -> None:
        """Counters of the stand-in, from its start to now."""
        stats, ended = self._site.control("stats"), self.ended
        ended.hits = stats["faults"].get(self._scene.kind, 0)
        ended.requests = stats["total"]
        ended.early = stats["early_total"]
        ended.window = stats["window_peak"]["all"]
        ended.documents = stats["connections"]["document"]["peak"]
        ended.control = stats["connections"]["journal"]["peak"]
        # What was sent while the stand-in had no turn is counted when it has one.
        window_max = RATE * (stats["window_seconds"] + stats["late_seconds"])
        for kept, text in (
            (ended.hits >= 1, "the fault was never met"),
            (ended.early == 0, f"{ended.early} requests before a Retry-After had passed"),
            (ended.window <= window_max, f"{ended.window} requests in 10 s"),
            (ended.documents <= IN_FLIGHT, f"{ended.documents} connections for documents"),
            (ended.control <= CONTROL_MAX, f"{ended.control} connections for journal and map"),
        ):
            if not kept:
                self._problem(text)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _problem(self, text: str) -> None:
        self.ended.outcome = "failed"
        self.ended.problems.append(text)


def _until_right(data: Path, judge: Judge, seconds_max: float, program: Program) -> Wrong:
    """Wait until dump and snapshot show nothing but the truth; what is wrong at the end."""
    end = time.monotonic() + seconds_max
    wrong: Wrong = {}
    judged: dict[str, tuple[int, int]] | None = None
    while True:
        there = _there(data)  # before it is read: what comes meanwhile is read the next time
        if there != judged:
            wrong, judged = _judged(data, judge), there
        if not wrong or time.monotonic() > end:
            return wrong
        assert program.alive, _end_of(program)
        time.sleep(LOOK_SECONDS)


def _there(data: Path) -> dict[str, tuple[int, int]]:
    """What is published: the same as before while no file was put in the place of another."""
    found = {}
    for path in (data / "pypi.duckdb", *data.glob("dumps/*")):
        with contextlib.suppress(FileNotFoundError):
            told = path.stat()
            found[path.name] = (told.st_ino, told.st_mtime_ns)
    return found


def _judged(data: Path, judge: Judge) -> Wrong:
    dump, snapshot = _dump(data), data / "pypi.duckdb"
    wrong = judge.dump(dump) if dump and snapshot.exists() else {"": "not published yet"}
    return wrong or judge.snapshot(snapshot)


def _dump(data: Path) -> Dump | None:
    """The published dump; None while there is none, or just when it is being replaced."""
    with contextlib.suppress(FileNotFoundError, AssertionError):
        return read_dump(data)
    return None


def _shown(wrong: Wrong) -> str:
    some = list(wrong.items())[:WRONG_SHOWN_MAX]
    return "".join(f"\n  {name}: {text[:400]}" for name, text in some)


def _end_of(program: Program) -> str:
    return f"ended with {program.process.returncode}:\n{program.text()}"


def _program(folder: Path, site: Site) -> contextlib.AbstractContextManager[Program]:
    data = str(folder / "data")
    return started("run", "--data", data, "--upstream", site.url, *OPTIONS, cwd=folder)

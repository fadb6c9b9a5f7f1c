"""Kill real processes again and again: `make kill-loops KILLS=1000`.

python -m tests.support.kill_loop PART KILLS: the part is a fork of this process, which never
touches what it kills. What a kill left is looked at by another fork. Beside `kill -9`: SIGSTOP and
SIGCONT before it, SIGTERM (to which a process must end by itself), a wall clock that jumps by a
day, and a main thread that stands still, both while it works.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random
from typing import NoReturn

from tests.support.chosen import chosen
from tests.support.kill_parts import BUILT_ANEW, PARTS, Part
from tests.support.logs import IN_MEMORY
from tests.support.simulate import quiet

LIFE_SECONDS = (0.0, 0.08)  # after the first number, if it is waited for
AT_WORK_SHARE = 0.8  # of the lives that are let come to work; the others may die as they open files
AT_WORK_SECONDS_MAX = 60.0  # on a busy machine
STOPPED_SECONDS = 0.02
STALL_SECONDS = 0.1
DRAINED_SECONDS_MAX = 60.0  # SIGTERM; the longest is told: on an idle machine well below ten
JUMP_SECONDS = 86_400.0
# Of the kills; more are no torn blocks of DuckDB's metadata (ADR 031): one in 2 000 was seen.
ANEW_SHARE_MAX = 0.01
WAYS = {"kill": 14, "stop": 2, "terminate": 1, "jump": 2, "stall": 1}


def anew_max(kills: int) -> int:
    """How many of so many kills may leave what has to be built anew: see ANEW_SHARE_MAX."""
    return 1 + int(kills * ANEW_SHARE_MAX)


class Life:
    """A forked process that works, and the last number that it said."""

    def __init__(self, part: Part, root: Path) -> None:
        ours, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ours)
            _live(part, root, theirs)
        os.close(theirs)
        self._pipe = ours
        self._rest = b""
        self.said = 0
        self.full = 0

    def listen(self, seconds: float) -> bool:
        """Take in what it says within that time; False once it has ended."""
        if not select.select([self._pipe], [], [], seconds)[0]:
            return True
        piece = os.read(self._pipe, 65_536)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        numbers = list(map(int, lines))
        self.full += sum(number < 0 for number in numbers)
        self.said = max([self.said, *numbers])
        return bool(piece)

    def until(self, wanted: Callable[[], bool], what: str) -> None:
        """Listen until something is true. Fails if it ends, or after AT_WORK_SECONDS_MAX."""
        end = time.monotonic() + AT_WORK_SECONDS_MAX
        while not wanted():
            assert self.listen(0.05), f"ended before {what}"
            assert time.monotonic() < end, f"no {what}"

    def signal(self, number: int) -> None:
        """Send one."""
        os.kill(self.pid, number)

    def end(self, number: int) -> int:
        """Send a signal, take in the rest of what it said, and wait; how it ended."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(number)
        while self.listen(AT_WORK_SECONDS_MAX):
            pass
        os.close(self._pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _live(part: Part, root: Path, pipe: int) -> NoReturn:
    """What the child does until it is killed."""
    shifted, told = 0.0, False
    real = time.time

    def jump(*_: object) -> None:
        nonlocal shifted
        shifted += random.choice((-JUMP_SECONDS, JUMP_SECONDS))

    def stop(*_: object) -> None:
        nonlocal told
        told = True

    def say(number: int) -> None:
        os.write(pipe, b"%d\n" % number)
        if told:  # between two transactions, as the program ends
            raise SystemExit(0)

    time.time = lambda: real() + shifted
    signal.signal(signal.SIGUSR1, jump)
    signal.signal(signal.SIGUSR2, lambda *_: time.sleep(STALL_SECONDS))
    signal.signal(signal.SIGTERM, stop)
    code = 1
    try:
        part.live(root, say)
    except SystemExit:
        code = 0
    except BaseException:  # noqa: BLE001  # a fork must not go on as its parent would
        traceback.print_exc()
    os._exit(code)


def apart(function: Callable[[], int | None], codes: Collection[int] = (0,)) -> int:
    """Call it in a fork, which exits with what it gives (None = 0); that code.

    Fails if it is none of `codes`: see stderr for why.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = function() or 0
        except BaseException:  # noqa: BLE001  # as above
            traceback.print_exc()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in codes, f"what was left is wrong (exit {code}); its traceback is above"
    return code


def look(part: Part, root: Path, said: int) -> bool:
    """Look at what was left, in a fork; whether it had to be built anew from the log."""
    return apart(lambda: part.check(root, said), (0, BUILT_ANEW)) == BUILT_ANEW


class Loop:
    """Kills of one part. `ways` counts what was done; `slowest` is the longest SIGTERM took.

    `anew` counts what had to be built anew after a kill.
    """

    def __init__(self, part: Part, chance: Random, folder: Path) -> None:
        self.part = part
        self.ways: Counter[str] = Counter()
        self.slowest = 0.0
        self.checks = 0
        self.anew = 0
        self._chance = chance
        self._folder = folder

    def run(self, kills: int) -> None:
        """So many, in one directory after the other."""
        while self.ways.total() < kills:
            root = self._folder / f"life-{self.ways.total()}"
            root.mkdir()
            for _ in range(min(self.part.generation, kills - self.ways.total())):
                said = self._one(root)
                self.anew += look(self.part, root, said)
                self.checks += 1
            apart(lambda: self.part.last(root))  # noqa: B023  # it is called at once
            assert not look(self.part, root, 0), "what nobody killed is damaged"
            shutil.rmtree(root)
        assert self.anew <= anew_max(kills), f"built anew after {self.anew} of {kills} kills"

    def _one(self, root: Path) -> int:
        chance = self._chance
        [way] = chance.choices(list(WAYS), list(WAYS.values()))
        life = Life(self.part, root)
        if chance.random() < AT_WORK_SHARE:
            life.until(lambda: life.said > 0, "number")
        time.sleep(chance.uniform(*LIFE_SECONDS))
        if way == "stop":
            life.signal(signal.SIGSTOP)
            time.sleep(STOPPED_SECONDS)
            life.signal(signal.SIGCONT)
        elif way in ("jump", "stall"):
            before = life.said
            life.until(lambda: life.said > 0, "number")  # by then it has its handlers
            life.signal(signal.SIGUSR1 if way == "jump" else signal.SIGUSR2)
            life.until(lambda: life.said > before, "number after it")
        if way == "terminate":
            life.until(lambda: life.said > 0, "number")
            begun = time.monotonic()
            assert life.end(signal.SIGTERM) == 0
            self.slowest = max(self.slowest, time.monotonic() - begun)
            assert self.slowest < DRAINED_SECONDS_MAX
        else:
            assert life.end(signal.SIGKILL) == -signal.SIGKILL, "it ended by itself"
        self.ways[way] += 1
        return life.said


def main(parts: list[str], kills: int, seed: int) -> None:
    """Every part in turn; the last line says what was done."""
    for name in parts:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            loop = Loop(PARTS[name], Random(seed), Path(folder))
            loop.run(kills)
        done = ", ".join(f"{count} {way}" for way, count in sorted(loop.ways.items()))
        seconds = time.monotonic() - begun
        sys.stdout.write(
            f"{name}: {kills} kills ({done}), {loop.checks} looks, {loop.anew} built anew, SIGTERM"
            f" took at most {loop.slowest:.2f} s, 0 violations, {seconds:.0f} s, seed {seed}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    given = chosen("make kill-loops", PARTS, "kills")
    quiet()
    main(*given)

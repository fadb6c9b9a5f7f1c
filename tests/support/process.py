"""The real program as a process: started, watched, stopped or killed with its children."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from pypistream.health.status_report import StatusReader
from pypistream.place import located
from pypistream.wiring import open_log_for_reading

START = (sys.executable, "-m", "pypistream")
COMMAND_SECONDS_MAX = 60.0  # of one command on a busy machine
LOOK_SECONDS = 0.05
BUSY = 5.0  # times as long as a test says: it thinks of a machine that has nothing else to do
T = TypeVar("T")


@dataclass(frozen=True)
class Program:
    """A `run` or `demo` under way. `said` is the file its stderr goes to."""

    process: subprocess.Popen[bytes]
    said: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def text(self) -> str:
        """Everything it has said so far."""
        return self.said.read_text(errors="replace")

    def children(self) -> list[psutil.Process]:
        """Processes it has started, theirs too."""
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
        return family

    def stop(self, number: int = signal.SIGINT, seconds_max: float = 15.0) -> int:
        """Send a signal and wait; the exit code."""
        if self.alive:
            self.process.send_signal(number)
        return self.wait(seconds_max)

    def wait(self, seconds_max: float = COMMAND_SECONDS_MAX) -> int:
        """The exit code; fails with what it said if it does not end."""
        try:
            return self.process.wait(BUSY * seconds_max)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it goes on after {seconds_max} s:\n{self.text()}") from None

    def kill(self) -> None:
        """SIGKILL to it and to all it has started, and wait until they are gone."""
        family = self.children()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=60)

    def kill_children(self) -> int:
        """SIGKILL only to what it has started; how many those were."""
        family = self.children()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        return len(family)

    def until(self, wanted: Callable[[], T], seconds_max: float, what: str = "") -> T:
        """Wait for something true to come back; fails with what the program said.

        Whoever looks by a process of its own takes no more than half of a core for that.
        """
        end = time.monotonic() + BUSY * seconds_max
        while True:
            begun = time.monotonic()
            if found := wanted():
                return found
            assert self.alive, f"ended with {self.process.returncode}:\n{self.text()}"
            assert time.monotonic() < end, f"no {what} in {seconds_max} s:\n{self.text()}"
            time.sleep(max(LOOK_SECONDS, time.monotonic() - begun))


@contextlib.contextmanager
def started(
    *arguments: str, cwd: Path, name: str = "said", environment: dict[str, str] | None = None
) -> Iterator[Program]:
    """Start the program; whatever of it is left at the end is killed."""
    said = cwd / f"{name}.txt"
    with said.open("ab") as stderr:
        process = subprocess.Popen(
            [*START, *arguments],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    program = Program(process, said)
    try:
        yield program
    finally:
        if program.alive:
            program.kill()


def command(
    *arguments: str, cwd: Path, seconds_max: float = COMMAND_SECONDS_MAX
) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [*START, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUSY * seconds_max,
        check=False,
    )


def answered(*arguments: str, question: str, answer: bytes, cwd: Path) -> tuple[int, str]:
    """The command at a terminal, where the question is answered: exit code, and what it showed."""
    control, terminal = pty.openpty()
    with subprocess.Popen(
        [*START, *arguments], cwd=cwd, stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other side was closed
            while piece := os.read(control, 65_536):
                asked, shown = question.encode() in shown, shown + piece
                if not asked and question.encode() in shown:
                    os.write(control, answer)
        code = process.wait(COMMAND_SECONDS_MAX)
    os.close(control)
    return code, shown.decode()


def refused(*arguments: str, cwd: Path, code: int, says: str, hint: str = "") -> str:
    """The command ends with `code` and at most two lines of error, `hint` in the second."""
    ended = command(*arguments, cwd=cwd)
    lines = ended.stderr.splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("Error: ")), None)

    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert "Traceback" not in ended.stderr
    assert first is not None, ended.stderr
    assert says in lines[first]
    assert len(lines) - first <= 2
    assert hint in (lines[first + 1] if hint else "")
    return ended.stderr


def status(data: Path) -> dict[str, Any]:
    """What `pypistream status --json` says, without a process: it is asked for again and again."""
    with ThreadPoolExecutor(1) as pool:  # whoever asks may have a loop of its own
        found: dict[str, Any] = json.loads(pool.submit(asyncio.run, _status(data)).result())
    return found


async def _status(data: Path) -> bytes:
    settings, place = located({"data": data})
    log = await open_log_for_reading(settings, place)
    try:
        report = await StatusReader(place, log, brief=False, kafka=settings.kafka).report()
    finally:
        await log.close()
    return msgspec.json.encode(report)

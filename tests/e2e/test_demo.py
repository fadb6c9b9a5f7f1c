"""`pypistream demo`, as a newcomer meets it: at a terminal, with three commands to paste."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.process import BUSY, START, Program, started
from tests.support.tools import needs

FIRST_SECONDS_MAX = 15.0  # 5 are promised, of a machine that does nothing else
FIRST_CPU_SECONDS_MAX = 8.0  # of demo, stand-in and sinks together: what a quiet machine waits for
DRAIN_SECONDS_MAX = 10.0
ALL_GONE_SECONDS_MAX = 60.0  # on a busy machine
ROWS, COLUMNS = 40, 160
LABELS = (
    "serial", "watermark", "lag", "projects up to date", "changes per minute", "pending / parked",
    "stale / dead", "last snapshot", "last dump",
)  # fmt: skip
CONTROLS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def pasted(text: str) -> list[str]:
    """The commands it names, as they stand there."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip().startswith("paste into another terminal"):
            break
    found = []
    for line in filter(str.strip, lines):  # a terminal's carriage returns leave empty ones
        if not line.startswith("  "):
            break
        found.append(line.strip())
    return found


def folder_of(text: str) -> Path:
    """The data directory it names."""
    named = re.search(r"  data (\S+)", text)
    assert named, text
    return Path(named[1])


def page_of(text: str) -> str:
    """The address it names for a browser."""
    named = re.search(r"in a browser: (\S+)", text)
    assert named, text
    return named[1]


def cpu_seconds(program: Program) -> float:
    """What it and all it has started have used so far."""
    family = (psutil.Process(program.process.pid), *program.children())
    times = (one.cpu_times() for one in family)
    return sum((float(each.user + each.system) for each in times), 0.0)


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As if it was pasted into another terminal, in another directory."""
    return subprocess.run(
        command, shell=True, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_three_commands_to_paste_work_while_it_runs(tmp_path: Path, elsewhere: Path) -> None:
    """Changes happen by themselves; Ctrl-C ends it with exit 0 and leaves nothing behind."""
    needs("zstd")
    with started("demo", cwd=tmp_path) as program:
        program.until(lambda: "watermark" in program.text(), FIRST_SECONDS_MAX, "first line")
        data = folder_of(program.text())
        program.until((data / "pypi.duckdb").exists, FIRST_SECONDS_MAX, "snapshot")
        program.until((data / "dumps/manifest.json").exists, FIRST_SECONDS_MAX, "dump")
        assert cpu_seconds(program) < FIRST_CPU_SECONDS_MAX
        assert httpx.get(f"{page_of(program.text())}sql/").status_code == 200
        follow, query, dump = (shell(each, elsewhere) for each in pasted(program.text()))
        family = program.children()
        assert len(family) == 3
        assert program.stop(signal.SIGINT, DRAIN_SECONDS_MAX) == 0, program.text()
        psutil.wait_procs(family, timeout=ALL_GONE_SECONDS_MAX)

        assert not any(one.is_running() for one in family)
        assert not data.exists()
        assert "Traceback" not in program.text()
    assert (follow.returncode, follow.stderr) == (0, "")
    changes = [json.loads(line) for line in follow.stdout.splitlines()]
    assert 3 == len(changes)
    assert {"changelog"} == {change["topic"] for change in changes}
    assert (query.returncode, query.stderr) == (0, "")
    assert 5 == len([json.loads(line)["name"] for line in query.stdout.splitlines()])
    assert 0 == dump.returncode
    assert json.loads(dump.stdout)["document"]["info"]["name"]


@pytest.fixture
def hangup_ends() -> Iterator[None]:
    """What is started is told of a closed terminal, though the tests may have been by `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@dataclass
class Terminal:
    """A program at a terminal of its own; `screen` is all that came, controls taken out."""

    process: subprocess.Popen[bytes]
    end: int
    raw: bytearray = field(default_factory=bytearray)

    @property
    def screen(self) -> str:
        return re.sub(rb"\r*\n|\r", b"\n", CONTROLS.sub(b"", bytes(self.raw))).decode()

    def read(self, seconds: float) -> bool:
        """Whatever comes within the time; False once the other side is gone."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.end], [], [], left)[0]:
                try:
                    part = os.read(self.end, 1 << 16)
                except OSError:  # the last process with this terminal has ended
                    return False
                self.raw += part
        return True

    def until(self, wanted: str, seconds_max: float) -> None:
        end = time.monotonic() + BUSY * seconds_max
        while wanted not in self.screen:
            assert time.monotonic() < end, f"no {wanted!r}:\n{self.screen}"
            assert self.read(0.1), self.screen

    def press(self, key: bytes) -> None:
        os.write(self.end, key)

    def wait(self) -> int:
        """The exit code."""
        end = time.monotonic() + ALL_GONE_SECONDS_MAX
        while self.read(0.1):
            assert time.monotonic() < end, self.screen
        return self.process.wait(ALL_GONE_SECONDS_MAX)


@contextmanager
def terminal(*arguments: str, cwd: Path) -> Iterator[Terminal]:
    """Start the program at a terminal, as a shell does it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    # `setsid --ctty` is not on every system: a line of Python takes the terminal, then becomes it.
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    take += "os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", take, *START, *arguments],
        cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    found = Terminal(process, ours)
    try:
        yield found
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if found.end == ours:
            os.close(ours)


def test_a_live_table_at_a_terminal(tmp_path: Path) -> None:
    """Every label of it, redrawn with new figures; Ctrl-C at the keyboard ends it with exit 0."""
    with terminal("demo", cwd=tmp_path) as at:
        at.until("last dump", FIRST_SECONDS_MAX)
        at.until("s ago", FIRST_SECONDS_MAX)
        drawn = at.screen.count("watermark")
        at.read(2.5)

        assert at.screen.count("watermark") > drawn
        assert [] == [
            each for each in LABELS if not re.search(f"^{each} ", at.screen, re.MULTILINE)
        ]
        assert 3 == len(pasted(at.screen))
        at.press(b"\x03")
        code = at.wait()
        shown = re.findall(r"^serial +([0-9,]+)", at.screen, re.MULTILINE)
        assert 0 == code, at.screen
        assert len(set(shown)) > 1, "nothing has changed by itself"
        assert not folder_of(at.screen).exists()
        assert "Traceback" not in at.screen
        assert at.raw.endswith(b"\n")
        assert at.raw.rfind(b"\x1b[?25h") > at.raw.rfind(b"\x1b[?25l"), "the cursor stays hidden"


@pytest.mark.usefixtures("hangup_ends")
def test_a_terminal_that_is_closed_leaves_nothing_behind(tmp_path: Path) -> None:
    """Nothing can be written to it any more, and yet everything is closed in order."""
    with terminal("demo", cwd=tmp_path) as at:
        at.until("last dump", FIRST_SECONDS_MAX)
        at.until("s ago", FIRST_SECONDS_MAX)
        data = folder_of(at.screen)
        family = psutil.Process(at.process.pid).children(recursive=True)
        os.close(at.end)
        code = at.process.wait(ALL_GONE_SECONDS_MAX)
        at.end = -1
        _, alive = psutil.wait_procs(family, timeout=ALL_GONE_SECONDS_MAX)

        assert (0, False, []) == (code, data.exists(), alive)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("hangup_ends")
def test_a_signal_ends_it_within_ten_seconds(tmp_path: Path, number: signal.Signals) -> None:
    with started("demo", cwd=tmp_path) as program:
        program.until(lambda: "watermark" in program.text(), FIRST_SECONDS_MAX, "first line")
        data = folder_of(program.text())
        code = program.stop(number, DRAIN_SECONDS_MAX)

        assert (0, False) == (code, data.exists()), program.text()


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """With exit 130; the stand-in and the sinks do not outlive it either."""
    with started("demo", cwd=tmp_path) as program:
        program.until(lambda: "watermark" in program.text(), FIRST_SECONDS_MAX, "first line")
        program.until(lambda: len(program.children()) == 3, FIRST_SECONDS_MAX, "sinks")
        family = program.children()
        for one in family:
            one.suspend()  # else draining is over before a second key can be pressed
        program.process.send_signal(signal.SIGINT)
        program.until(lambda: "stopped at serial" in program.text(), 5, "end")
        assert 130 == program.stop(signal.SIGINT, 2.0), program.text()
        for one in family:
            one.resume()
        _, alive = psutil.wait_procs(family, timeout=ALL_GONE_SECONDS_MAX)

        assert [] == alive
        assert "Traceback" not in program.text()


def test_killed_it_leaves_no_process_behind(tmp_path: Path) -> None:
    with started("demo", cwd=tmp_path) as program:
        program.until(lambda: len(program.children()) == 3, FIRST_SECONDS_MAX, "sinks")
        family = program.children()
        program.process.kill()
        _, alive = psutil.wait_procs(family, timeout=ALL_GONE_SECONDS_MAX)

        assert [] == alive

"""Blocks of code in a Markdown text: found, run as a reader would, and compared with what it shows.

A block with `<!-- not run by the tests: why -->` before it is left out, and only such a block.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TERMINAL = (40, 100)  # lines and columns: what the shown outputs were copied from
COMMAND_SECONDS_MAX = 150.0
READ_BYTES = 65_536
SAID = "background.txt"  # where what runs in the background writes to

_BLOCK = re.compile(
    r"(?:<!-- (?:not run by the tests: (?P<why>[^>]+)|(?P<stop>the tests press Ctrl-C here))"
    r" -->\n)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_KEY = re.compile(r'"(\w+)":')
_LABEL = re.compile(r"([a-z][a-z ]*?) {2,}")


@dataclass(frozen=True)
class Block:
    """`line` is that of its fence; `why` says why it is not run, "" if it is.

    `stop`: what a block before has left running is ended first.
    """

    line: int
    language: str
    text: str
    why: str
    stop: bool


@dataclass(frozen=True)
class Step:
    """A command of a console block, and the lines shown below it."""

    command: str
    shown: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page that names a language."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            text.count("\n", 0, m.start("language")) + 1,
            m["language"],
            m["text"],
            m["why"] or "",
            m["stop"] is not None,
        )
        for m in _BLOCK.finditer(text)
    ]


def steps(block: Block) -> list[Step]:
    """The `$ ` lines of a console block, each with its output."""
    assert block.text.startswith("$ "), f"line {block.line}: output without a command"
    found = []
    for piece in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *shown = piece.splitlines()
        found.append(Step(command, tuple(shown)))
    return found


def on_a_terminal(command: str, cwd: Path) -> tuple[int, list[str]]:
    """Exit code and lines of a shell command whose output goes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *TERMINAL, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    pieces = []
    with contextlib.suppress(OSError):  # EIO: the last writer has closed the terminal
        while piece := os.read(ours, READ_BYTES):
            pieces.append(piece)
    os.close(ours)
    code = process.wait(COMMAND_SECONDS_MAX)
    text = _ESCAPE.sub("", b"".join(pieces).decode())
    return code, [line for line in text.replace("\r", "").splitlines() if line]


def shape(lines: list[str] | tuple[str, ...]) -> object:
    """What stays the same from run to run: keys, column names, labels; else the number of cells.

    JSON lines, also such as were cut off: their keys. A table: its column names. `label  value`
    lines: the labels. A table that is drawn: names and types. Else: words without digits.
    """
    first = lines[0] if lines else ""
    if first.startswith("{"):
        return "json", tuple(_KEY.findall(first))
    if len(lines) > 1 and set(lines[1]) == {"-", " "}:
        return "table", tuple(first.split())
    if first.startswith("┌"):
        return "drawing", tuple(cell.strip() for cell in lines[1].strip("│").split("│"))
    labels = [found[1] for line in lines if (found := _LABEL.match(line))]
    if labels:
        return "labels", tuple(labels)
    return "rows", tuple(len(re.split(r" {2,}", line.strip())) > 1 for line in lines)


def keys_agree(shown: object, seen: object) -> bool:
    """Equal shapes; of a JSON line that was cut off the shorter list of keys counts."""
    if isinstance(shown, tuple) and isinstance(seen, tuple) and "json" == shown[0] == seen[0]:
        count = min(len(shown[1]), len(seen[1]))
        return count > 0 and bool(shown[1][:count] == seen[1][:count])
    return shown == seen


@contextlib.contextmanager
def in_the_background(command: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that a reader leaves running; Ctrl-C at the end, and it must end well."""
    with (cwd / SAID).open("wb") as said:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield process
        press_ctrl_c(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """End a command as a reader does; it must end well."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    assert process.wait(COMMAND_SECONDS_MAX) == 0, process.args


def until_there(process: subprocess.Popen[bytes], said: Path, *paths: Path) -> None:
    """Wait for files that a running command publishes; fails with what it `said`."""
    end = time.monotonic() + COMMAND_SECONDS_MAX
    while not all(path.exists() for path in paths):
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < end, f"none of {paths} yet"
        time.sleep(0.1)

"""Output: escaped for a terminal, bytes for a pipe, a quiet end when the reader has gone."""

from __future__ import annotations

import os
import select
import sys

import click

from schemas.errors import PypistreamError
from schemas.escaping import escaped

__all__ = ["ReaderGone", "Stdout", "complain", "confirmed", "duration", "escaped", "shortened"]

STDOUT = 1


class ReaderGone(Exception):
    """The other end of stdout was closed (`| head`): the reader has seen enough."""


def shortened(text: str, characters_max: int) -> str:
    """The text cut to so many characters, the last of them an ellipsis if it was longer."""
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def duration(seconds: float) -> str:
    """A duration for people, in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Stdout:
    """Writes bytes to stdout at once, past Python's buffers.

    With a buffer there would be text left when the reader has gone, and the interpreter would
    complain at exit and end with 120.
    """

    def __init__(self, descriptor: int = STDOUT) -> None:
        self._descriptor = descriptor
        self.terminal = os.isatty(descriptor)

    def write(self, piece: bytes) -> int:
        """Write all of `piece`; raises ReaderGone."""
        view = memoryview(piece)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BrokenPipeError:
                raise ReaderGone from None
            except BlockingIOError:  # another process made the shared terminal non-blocking
                select.select((), (self._descriptor,), ())
        return len(piece)

    def flush(self) -> None:
        """Does nothing. It makes a Stdout usable as a binary file."""

    def check_reader(self) -> None:
        """Raise ReaderGone if nothing written from now on would be read."""
        if self.terminal:
            return
        poll = select.poll()
        poll.register(self._descriptor, select.POLLERR)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise ReaderGone


def confirmed(question: str, *, yes: bool, default: bool) -> bool:
    """Whether to go on: a person at a terminal is asked, a script is not, nor with `--yes`."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    return click.confirm(question, default=default, err=True)


def complain(error: PypistreamError) -> None:
    """Print an error that does not end the command to stderr: what happened, and what to do."""
    hint = f"  ({error.hint})" if error.hint else ""
    sys.stderr.write(f"{escaped(str(error))}{escaped(hint)}\n")
    sys.stderr.flush()

"""Text on its way out: escaped for a terminal, as bytes for a pipe, quiet when nobody reads on."""

from __future__ import annotations

import os
import select
import sys

from schemas.errors import PypistreamError
from schemas.escaping import escaped

__all__ = ["ReaderGone", "Stdout", "complain", "duration", "escaped", "shortened"]

STDOUT = 1


class ReaderGone(Exception):
    """The other end of stdout was closed (`| head`): whoever read our output has seen enough."""


def shortened(text: str, characters_max: int) -> str:
    """At most so many characters, the last of them an ellipsis if something was cut."""
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def duration(seconds: float) -> str:
    """Roughly, in the two largest units."""
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

    A buffer would still hold text when the reader has gone, and the interpreter, flushing it at
    exit, would complain and end with 120.
    """

    def __init__(self, descriptor: int = STDOUT) -> None:
        self._descriptor = descriptor
        self.terminal = os.isatty(descriptor)

    def write(self, piece: bytes) -> int:
        """All of `piece`; raises ReaderGone."""
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
        """Nothing is held back. Here so that a Stdout will do where a binary file is wanted."""

    def check_reader(self) -> None:
        """Raises ReaderGone if nothing written from now on would be read."""
        if self.terminal:
            return
        poll = select.poll()
        poll.register(self._descriptor, select.POLLERR)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise ReaderGone


def complain(error: PypistreamError) -> None:
    """An error that does not end the command, on stderr: what happened, and what to do."""
    hint = f"  ({error.hint})" if error.hint else ""
    sys.stderr.write(f"{escaped(str(error))}{escaped(hint)}\n")
    sys.stderr.flush()

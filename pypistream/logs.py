"""What the program reports while it runs: one line per event, on stderr.

On a terminal that is a line for a person, with control characters escaped; elsewhere (a journal, a
file, a container) a JSON object. PYPISTREAM_LOG=text or =json overrides this. With `json` even what
is otherwise plain text for a person is an event: every line is an object.

stdout is for data: `follow` and `query` print theirs, and a `run` reads its sinks' messages there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import orjson
import structlog

from pypistream.terminal import escaped, shortened

VALUE_CHARACTERS_MAX = 300  # it may quote upstream
TRACE_CHARACTERS_MAX = 20_000  # some hundred frames
TEXT, JSON = "text", "json"
LOG_VARIABLE = "PYPISTREAM_LOG"
_FIRST = ("time", "level", "logger", "event")  # keys of our own, in this order

Event = MutableMapping[str, Any]


class _Logger(structlog.PrintLogger):
    """A logger that knows its name: the part of the program that reports.

    A line that cannot be written, because the reader has gone (`2>&1 | head`) or the disk is full,
    is dropped and ends nothing.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        super().__init__(file)
        self.name = name

    def msg(self, message: str) -> None:
        """Print a line, if that is possible."""
        with suppress(OSError):
            super().msg(message)

    debug = info = warning = error = critical = exception = msg


def log_to_stderr() -> None:
    """Configure structlog; before the first event is logged."""
    as_json = log_format() == JSON
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(
                fmt="iso" if as_json else "%Y-%m-%d %H:%M:%S", utc=as_json
            ),
            _object if as_json else _line,
        ],
        # Looked up at each event, since a live table replaces it.
        logger_factory=lambda *names: _Logger(sys.stderr, ".".join(map(str, names))),
    )


def say(text: str, name: str) -> None:
    """Print one line for a person; an event of `name` if PYPISTREAM_LOG=json.

    If the reader has gone, the line is dropped.
    """
    with suppress(OSError):
        if os.environ.get(LOG_VARIABLE) == JSON:
            structlog.get_logger(name).info(text)
            return
        sys.stderr.write(f"{escaped(text)}\n")
        sys.stderr.flush()


def log_format() -> str:
    """`text` on a terminal and `json` elsewhere, unless the environment says which."""
    chosen = os.environ.get(LOG_VARIABLE, "")
    if chosen in (TEXT, JSON):
        return chosen
    return TEXT if sys.stderr.isatty() else JSON


def _line(logger: object, method: str, event: Event) -> str:
    """`time level event  key=value …`, with control characters escaped."""
    del logger, method
    head = f"{event.pop('timestamp')} {event.pop('level')}: {event.pop('event')}"
    values = (f"{key}={_value(value)}" for key, value in event.items())
    return "  ".join((escaped(head), *values))


def _value(value: object) -> str:
    text = repr(value) if isinstance(value, str) and " " in value else str(value)
    return escaped(shortened(text, VALUE_CHARACTERS_MAX))


def _object(logger: object, method: str, event: Event) -> str:
    """`{"time", "level", "logger", "event", …}` with the event's own values after them."""
    del method
    ours = {
        "time": event.pop("timestamp"),
        "level": event.pop("level"),
        "logger": getattr(logger, "name", ""),
        "event": event.pop("event"),
    }
    others = {
        f"{key}_" if key in _FIRST else key: _plain(
            value, TRACE_CHARACTERS_MAX if key == "exception" else VALUE_CHARACTERS_MAX
        )
        for key, value in event.items()
    }
    return orjson.dumps({**ours, **others}).decode()


def _plain(value: object, characters_max: int) -> object:
    """A number as it is; anything else as text that is valid in JSON."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 2**53:  # what a JSON number holds in every reader
        return value
    return shortened(str(value).encode("utf-8", "replace").decode(), characters_max)

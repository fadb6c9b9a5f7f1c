"""What the program says of itself while it runs: one line an event, on stderr, safe for a terminal.

stdout is for data: `follow` and `query` print it, and a `run` reads that of its sinks.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from pypistream.terminal import escaped, shortened

VALUE_CHARACTERS_MAX = 300  # upstream's own words may be in it


def log_to_stderr() -> None:
    """Configure structlog; before the first event is logged."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            _line,
        ],
        # Looked up at each event: a live table puts something else in its place.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _line(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    """`time level event  key=value …`, nothing in it that could steer a terminal."""
    del logger, method
    head = f"{event.pop('timestamp')} {event.pop('level')}: {event.pop('event')}"
    values = (f"{key}={_value(value)}" for key, value in event.items())
    return "  ".join((escaped(head), *values))


def _value(value: object) -> str:
    text = repr(value) if isinstance(value, str) and " " in value else str(value)
    return escaped(shortened(text, VALUE_CHARACTERS_MAX))

"""Keeping the start of the program quick."""

from __future__ import annotations

import importlib
import sys


def load_logging() -> None:
    """Import structlog as if rich were not installed; call it before any other import of structlog.

    structlog loads rich for coloured tracebacks, which this program never shows: 50 ms of each
    start.
    """
    if {"structlog", "rich"} & sys.modules.keys():
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # importing it now raises ImportError
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]

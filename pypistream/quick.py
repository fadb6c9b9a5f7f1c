"""What a start need not load."""

from __future__ import annotations

import importlib
import sys


def load_logging() -> None:
    """Import structlog as where there is no rich; before anything else imports it.

    It takes rich for coloured tracebacks, which this program never asks for: 50 ms of each start.
    """
    if {"structlog", "rich"} & sys.modules.keys():
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # whoever imports it meets an ImportError
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]

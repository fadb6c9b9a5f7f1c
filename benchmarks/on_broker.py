"""The command line that benchmarks on a running broker share."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

BROKER = "PYPISTREAM_TEST_KAFKA"


def print_figures(bench: Callable[[str], Awaitable[dict[str, Any]]], about: str | None) -> None:
    """Measure on the broker that the environment names, and print what came out."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bootstrap = os.environ.get(BROKER, "")
    if not bootstrap:
        raise SystemExit(f"{BROKER}=HOST:PORT names the broker to measure with")

    async def measured() -> dict[str, Any]:
        return await bench(bootstrap)

    result = asyncio.run(measured())
    print(json.dumps(result) if given.json else json.dumps(result, indent=2))

"""`pypistream upstream`: serve the stand-in until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import click

from schemas.errors import UsageError
from upstream.standin.server import serve as serve_standin
from upstream.standin.settings import StandinSettings


def serve(given: Mapping[str, object]) -> int:
    """Listen and serve; the exit code."""
    settings = StandinSettings(**given)  # type: ignore[arg-type]  # the command's options, by name

    def ready(url: str) -> None:
        click.echo(f"listening on {url}")

    try:
        asyncio.run(serve_standin(settings, ready=ready))
    except OSError as error:
        raise UsageError(
            f"port {settings.port} cannot be used: {error.strerror or error}",
            hint="another one with --port, or --port 0 for a free one",
        ) from error
    except KeyboardInterrupt:
        return 0
    return 0

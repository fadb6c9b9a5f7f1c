"""`pypistream upstream`: serve the stand-in until Ctrl-C or SIGTERM."""

from __future__ import annotations

from collections.abc import Mapping

import click

from pypistream.stopping import run_until_stopped
from schemas.errors import UsageError
from upstream.standin.server import serve as serve_standin
from upstream.standin.settings import StandinSettings


def serve(given: Mapping[str, object]) -> int:
    """Listen and serve; the exit code."""
    settings = StandinSettings(**given)  # type: ignore[arg-type]  # the command's options, by name

    def ready(url: str) -> None:
        click.echo(f"listening on {url}")

    async def work() -> int:
        await serve_standin(settings, ready=ready)
        return 0

    try:
        return run_until_stopped(work())
    except OSError as error:
        raise UsageError(
            f"port {settings.port} cannot be used: {error.strerror or error}",
            hint="choose another one with --port, or --port 0 for a free one",
        ) from error

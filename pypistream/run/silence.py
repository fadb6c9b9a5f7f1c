"""An upstream that is never asked anything, for work that needs only the log."""

# ruff: noqa: ARG002  the port says what is given

from __future__ import annotations

import asyncio
from typing import NoReturn

from schemas.errors import UpstreamUnavailable
from schemas.names import NormalizedName


class Silence:
    """See `upstream.source.Upstream`. No permit ever comes, so nobody gets to ask."""

    async def permit(self) -> None:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()

    def hold(self, until_unix_seconds: float, reason: str) -> None:
        """Nobody asks anyway."""

    async def last_serial(self) -> int:
        """Like every method here it never answers."""
        _none()

    async def journal_since(self, serial: int) -> NoReturn:
        """See `last_serial`."""
        _none()

    async def project(self, name: NormalizedName, etag: str = "") -> NoReturn:
        """See `last_serial`."""
        _none()

    async def version(self, name: NormalizedName, version: str) -> NoReturn:
        """See `last_serial`."""
        _none()

    async def page(self, name: NormalizedName) -> NoReturn:
        """See `last_serial`."""
        _none()

    async def core_metadata(self, url: str) -> NoReturn:
        """See `last_serial`."""
        _none()

    async def serial_map(self, etag: str = "") -> NoReturn:
        """See `last_serial`."""
        _none()

    async def close(self) -> None:
        """Nothing is held."""


def _none() -> NoReturn:
    raise UpstreamUnavailable("nothing is asked of upstream here")

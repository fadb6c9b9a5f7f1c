"""Files as answers: whole or in parts, and none that begins before its file is open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send


async def file_answer(path: Path, media_type: str, headers: Mapping[str, str]) -> FileResponse:
    """The file, or the parts that are asked for (RFC 9110, 14). Raises HTTPException: 404."""
    try:
        known = await asyncio.to_thread(path.stat)
    except OSError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND) from error
    return _OpenedFile(path, headers=headers, media_type=media_type, stat_result=known)


class _OpenedFile(FileResponse):
    """Its status goes out with its first bytes: until then the file may be removed, which is 404.

    A publication removes old versions at any moment. Starlette says 200 before it opens the file.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises HTTPException: 404."""
        start: Message | None = None

        async def with_first_bytes(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                await send(start)
                start = None
            await send(message)

        try:
            await super().__call__(scope, receive, with_first_bytes)
        except FileNotFoundError as error:
            raise HTTPException(HTTPStatus.NOT_FOUND) from error

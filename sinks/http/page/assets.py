"""The page's own files: style, scripts, icon. They come with the program, and from nowhere else.

Their address holds a hash of all of them, so that it never stands for anything else.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sinks.http.answers import answer
from sinks.http.dumps import FOREVER

ROOT = "/static"
_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_DIGEST_BYTES = 8


def _read() -> dict[str, bytes]:
    paths = sorted(path for path in _FOLDER.iterdir() if path.suffix in _TYPES)
    return {path.name: path.read_bytes() for path in paths}


_files = _read()
_digest = hashlib.blake2b(b"".join(_files.values()), digest_size=_DIGEST_BYTES).hexdigest()


def address_of(name: str) -> str:
    """Where a file is; beside it are all others, so that a script may name another."""
    assert name in _files, name
    return f"{ROOT}/{_digest}/{name}"


def routes() -> list[BaseRoute]:
    """For the application."""
    return [Route(f"{ROOT}/{{digest}}/{{name}}", _file)]


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    content = _files.get(name)
    if content is None or request.path_params["digest"] != _digest:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return answer(request, content, _TYPES[Path(name).suffix], headers={"Cache-Control": FOREVER})

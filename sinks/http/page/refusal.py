"""What a browser shows of an address that leads nowhere; a program gets the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from sinks.http.answers import HTML
from sinks.http.page.rendering import HEADERS, rendered


def refusal(
    status: int, error: str, hint: str, headers: Mapping[str, str], *, sql: bool
) -> Response:
    """The page. `error`, `hint`: as in `sinks.http.answers.problem`; `sql`: see `Pages`."""
    body = rendered("refusal.html", sql=sql, error=error, hint=hint)
    return Response(body, status, {**HEADERS, **headers}, HTML)

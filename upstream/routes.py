"""PyPI's routes: the URL of each call, and the meaning of its answer. Knows no HTTP library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Protocol, TypeVar
from urllib.parse import quote

from schemas.errors import (
    OversizedBody,
    RateLimited,
    UpstreamUnavailable,
)
from schemas.names import NormalizedName
from upstream import answers, index, xmlrpc
from upstream.answers import Reply
from upstream.limits import Gate, RateNow
from upstream.settings import KIB, ClientSettings, RouteLimits
from upstream.source import (
    Answer,
    Document,
    FileMetadata,
    JournalPage,
    NotFound,
    NotModified,
    Page,
    SerialMap,
)

PARSE_IN_THREAD_BYTES = 256 * KIB  # about 20 ms of parsing: more would delay every fetch
VERSION_CHARACTERS_MAX = 200  # no version is that long, and it goes into a URL

_T = TypeVar("_T")


_Headers = tuple[tuple[str, str], ...]
_JSON: _Headers = (("Accept", "application/json"),)
_XML: _Headers = (("Accept", xmlrpc.CONTENT_TYPE), ("Content-Type", xmlrpc.CONTENT_TYPE))


@dataclass(frozen=True, slots=True)
class Call:
    """A request to be made.

    `what` names it in messages; `control`: it is for the journal or the index.

    `elsewhere`: on another host than upstream's.
    """

    what: str
    url: str
    headers: _Headers
    limits: RouteLimits
    method: str = "GET"
    content: bytes | None = None
    control: bool = False
    elsewhere: bool = False


class Sender(Protocol):
    """What the routes need of HTTP; `gate` is shared with them."""

    gate: Gate
    requests_sent: int

    async def send(self, call: Call) -> Reply:
        """Send one request when it may be sent, and read its whole answer within its limits.

        Raises UpstreamUnavailable, RateLimited, BrokenBody, OversizedBody.
        """
        ...

    def limited(self, error: RateLimited) -> RateLimited:
        """Hold everything back as this error says, tell others, and give it back to be raised."""
        ...

    async def close(self) -> None:
        """Close connections. Idempotent; never raises."""
        ...


class PypiRoutes:
    """The calls of the port (source.py). `permit()` is for all that ask about one project.

    Journal, index and the hops of a redirect are paced and held like all requests, but go first.
    """

    def __init__(self, settings: ClientSettings, sender: Sender) -> None:
        self._settings = settings
        self._sender = sender
        self._base = settings.base_url.rstrip("/")

    @property
    def requests_sent(self) -> int:
        """Requests that went out so far, of every kind."""
        return self._sender.requests_sent

    def held_seconds(self) -> float:
        """How long the hold still lasts; 0.0 if none is on."""
        return self._sender.gate.held_seconds()

    def set_rate(self, rate: float) -> None:
        """Take another share of the rate (requests per second, 0 = unlimited)."""
        self._sender.gate.set_rate(rate)

    def follow(self, rate_now: RateNow) -> None:
        """Ask for the rate at every turn: several processes share it."""
        self._sender.gate.follow(rate_now)

    async def permit(self) -> None:
        """Wait for the right to ask for one document."""
        await self._sender.gate.permit()

    def hold(self, until_unix_seconds: float, reason: str) -> None:  # noqa: ARG002 (the port's)
        """No permit and no request before that time (the latest wins, an hour at most)."""
        self._sender.gate.hold(until_unix_seconds)

    async def last_serial(self) -> int:
        """`changelog_last_serial()`. Raises Retriable or JournalGone."""
        body = await self._journal(xmlrpc.request("changelog_last_serial"))
        return await self._parsed(body, xmlrpc.parse_serial)

    async def journal_since(self, serial: int) -> JournalPage:
        """`changelog_since_serial(serial)`. Raises Retriable or JournalGone."""
        content = xmlrpc.request("changelog_since_serial", serial)
        body = await self._journal(content)
        return await self._parsed(body, lambda page: xmlrpc.parse_page(page, serial))

    async def project(self, name: NormalizedName, etag: str = "") -> Answer:
        """`/pypi/<name>/json`. Raises Retriable, OversizedBody or ForeignMetadata."""
        return await self._document(f"{self._base}/pypi/{name}/json", name, etag)

    async def version(self, name: NormalizedName, version: str) -> Answer:
        """`/pypi/<name>/<version>/json`; a version that fits in no URL is not found."""
        # httpx would resolve dots to another route.
        if version in ("", ".", "..") or len(version) > VERSION_CHARACTERS_MAX:
            return NotFound()
        segment = quote(version, safe="", errors="replace")
        return await self._document(f"{self._base}/pypi/{name}/{segment}/json", name, "")

    async def page(self, name: NormalizedName) -> Page | NotFound:
        """`/simple/<name>/` as PEP 691 JSON. Raises Retriable or OversizedBody."""
        url = f"{self._base}/simple/{name}/"
        headers = (("Accept", index.ACCEPT),)
        # The name is normalised, so PyPI has no reason to redirect to another page.
        reply = await self._send(Call(name, url, headers, self._settings.document))
        answer = answers.document_answer(reply, f"{name}'s index page", etag_sent=False)
        if not isinstance(answer, Document):
            return NotFound()
        if answers.looks_like_html(reply):
            raise UpstreamUnavailable(f"{name}'s index page is HTML, not PEP 691 JSON")
        return Page(answer.body, url)

    async def core_metadata(self, url: str) -> FileMetadata | NotFound:
        """`<url>.metadata`, wherever the files are. Raises Retriable or OversizedBody."""
        asked = answers.file_metadata_url(url, self._base)
        if asked is None:
            return NotFound()
        elsewhere = not answers.same_origin(asked, self._base)
        limits = self._settings.core_metadata
        reply = await self._send(Call(asked, asked, (), limits, elsewhere=elsewhere))
        answer = answers.document_answer(reply, asked, etag_sent=False)
        return FileMetadata(answer.body) if isinstance(answer, Document) else NotFound()

    async def serial_map(self, etag: str = "") -> SerialMap | NotModified:
        """`/simple/` as PEP 691 JSON. Raises Retriable."""
        sent = answers.usable_etag(etag)
        headers = (("Accept", index.ACCEPT), *_etag_header(sent))
        url = f"{self._base}/simple/"
        call = Call("the index", url, headers, self._settings.index, control=True)
        reply = await self._following(call, _any_target)
        if reply.head.status == HTTPStatus.NOT_MODIFIED and sent:
            return NotModified(reply.head.serial)
        if reply.head.status != HTTPStatus.OK:
            raise UpstreamUnavailable(f"the index: upstream answered {reply.head.status}")
        if answers.looks_like_html(reply):
            raise UpstreamUnavailable("the index is a page of HTML, not PEP 691 JSON")
        return await asyncio.to_thread(index.parse_serial_map, reply.body, reply.head.etag)

    async def close(self) -> None:
        """Close connections. Idempotent; never raises."""
        await self._sender.close()

    async def _document(self, url: str, name: NormalizedName, etag: str) -> Answer:
        sent = answers.usable_etag(etag)
        reply = await self._following(
            Call(name, url, (*_JSON, *_etag_header(sent)), self._settings.document),
            lambda target: answers.check_redirected_name(target, name),
        )
        return answers.document_answer(reply, name, etag_sent=bool(sent))

    async def _following(self, call: Call, check: Callable[[str], None]) -> Reply:
        for _ in range(answers.REDIRECTS_MAX):
            reply = await self._send(call)
            if reply.head.status not in answers.REDIRECTS:
                return reply
            target = answers.redirect_target(call.url, reply.head.location)
            check(target)
            call = replace(call, url=target)
        reply = await self._send(call)
        if reply.head.status in answers.REDIRECTS:
            raise UpstreamUnavailable(f"{call.what}: more than {answers.REDIRECTS_MAX} redirects")
        return reply

    async def _journal(self, content: bytes) -> bytes:
        url = f"{self._base}/pypi"
        reply = await self._send(
            Call("the journal", url, _XML, self._settings.journal, "POST", content, True)
        )
        refusal = answers.journal_refusal(reply)
        if refusal is None:
            return reply.body
        raise UpstreamUnavailable(
            f"{url}: {refusal}",
            retry_after_seconds=answers.REFUSED_SECONDS if answers.refuses(reply.head) else None,
            hint="check --upstream, and that --contact names you",
        )

    async def _parsed(self, body: bytes, parse: Callable[[bytes], _T]) -> _T:
        try:
            if len(body) < PARSE_IN_THREAD_BYTES:
                return parse(body)
            return await asyncio.to_thread(parse, body)
        except RateLimited as error:
            raise self._sender.limited(error) from None

    async def _send(self, call: Call) -> Reply:
        try:
            return await self._sender.send(call)
        except OversizedBody as error:
            if call.control:  # no dead letter for these: they are only asked for again
                raise UpstreamUnavailable(f"{call.what}: {error}") from None
            raise


def _any_target(_target: str) -> None:
    """The index may redirect anywhere on its own host."""


def _etag_header(etag: str) -> _Headers:
    return (("If-None-Match", etag),) if etag else ()

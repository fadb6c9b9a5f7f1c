"""One fetch: ask upstream, trim, and turn the outcome into a Reply. Upstream's errors end here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from processors.agenda import Work
from processors.decide import Body, Failed, Failure, Missing, Reply, Unchanged
from processors.publication import EXCERPT_BYTES_MAX, REASON_CHARACTERS_MAX
from processors.trim import Trimmed, trim
from schemas.errors import (
    BrokenBody,
    ForeignMetadata,
    MalformedMetadata,
    OversizedBody,
    RateLimited,
    UpstreamUnavailable,
)
from schemas.records import Source
from upstream.source import Document, NotFound, NotModified, Upstream

LARGE_BODY_BYTES = 256 * 1024  # above this a parse takes over a millisecond: not on the event loop
# One thread for the whole process: the interpreter runs one parse at a time anyway, and this way
# memory holds the objects of only one giant, however many arrive together.
LARGE_BODIES = ThreadPoolExecutor(1, thread_name_prefix="trim")
OUTAGE_FAILURES_MIN = 3  # this many failures in a row are upstream's, not one document's

_T = TypeVar("_T")


class Outcome(NamedTuple):
    """An answered fetch. `evidence`: the first bytes of a body that could not be used.

    `failed`: why the JSON API's answer could not be used, where another source stands in for it.
    `answered_ms`: when the JSON API's answer came. What it proves is decided as of that moment: a
    404 that was no proof then must not become one a few seconds later, when it is written.
    """

    work: Work
    reply: Reply
    trimmed: Trimmed | None = None
    evidence: bytes = b""
    source: Source = Source.JSON
    failed: str = ""
    answered_ms: int = 0

    @property
    def size(self) -> int:
        """Bytes that it holds until it is committed."""
        trimmed = self.trimmed
        return len(trimmed.metadata) + len(trimmed.releases) if trimmed else 0


@dataclass
class Weather:
    """Whether upstream as a whole answers: names parked for an outage are due when it ends."""

    failures: int = 0
    outage: bool = field(default=False)

    def failed(self) -> None:
        """A transport error or a 5xx."""
        self.failures += 1
        self.outage = self.outage or self.failures >= OUTAGE_FAILURES_MIN

    def answered(self) -> bool:
        """An answer of any kind; True if it ends an outage."""
        self.failures, over = 0, self.outage
        self.outage = False
        return over


async def ask(upstream: Upstream, work: Work) -> Document | Outcome | None:
    """Ask for one document, for `read` to turn into an Outcome; any other answer is one already.

    None = upstream asked us to wait, and the fetch does not count.
    """
    try:
        answer = await upstream.project(work.name, work.etag)
    except RateLimited:
        return None
    except (UpstreamUnavailable, BrokenBody) as error:
        return Outcome(work, failed(Failure.TRANSPORT, error))
    except OversizedBody as error:
        return Outcome(work, failed(Failure.OVERSIZED, error))
    except ForeignMetadata as error:
        return Outcome(work, failed(Failure.FOREIGN, error))
    if isinstance(answer, NotFound):
        return Outcome(work, Missing())
    if isinstance(answer, NotModified):
        return Outcome(work, Unchanged(answer.serial))
    return answer


def is_large(answer: Document | Outcome | None) -> bool:
    """Whether `read` takes long: such a body keeps its slot meanwhile, which bounds memory."""
    return isinstance(answer, Document) and len(answer.body) > LARGE_BODY_BYTES


async def off_the_loop(size: int, parse: Callable[[], _T]) -> _T:
    """The result of `parse`, called in a thread if `size`, in bytes, is large."""
    if size <= LARGE_BODY_BYTES:
        return parse()
    return await asyncio.get_running_loop().run_in_executor(LARGE_BODIES, parse)


async def read(
    work: Work, document: Document, *, all_releases: bool, left_out: frozenset[str] = frozenset()
) -> Outcome:
    """Trim a document, a large one in a thread."""

    def parse() -> Trimmed:
        return trim(
            document.body,
            work.name,
            header_serial=document.serial,
            all_releases=all_releases,
            left_out=left_out,
        )

    evidence = document.body[:EXCERPT_BYTES_MAX]
    try:
        trimmed = await off_the_loop(len(document.body), parse)
    except MalformedMetadata as error:
        return Outcome(work, failed(Failure.UNDECODABLE, error), evidence=evidence)
    except ForeignMetadata as error:
        return Outcome(work, failed(Failure.FOREIGN, error), evidence=evidence)
    except OversizedBody as error:
        return Outcome(work, failed(Failure.OVERSIZED, error), evidence=evidence)
    shown = Body(
        trimmed.serial, trimmed.hash, trimmed.display_name, document.etag, trimmed.own_serial
    )
    return Outcome(work, shown, trimmed)


def failed(failure: Failure, error: object) -> Failed:
    """The outcome of an answer that cannot be used."""
    return Failed(f"{failure.value}: {error}"[:REASON_CHARACTERS_MAX])

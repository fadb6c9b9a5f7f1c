"""Asks the index where the JSON API has no whole document: when, and with what result.

`wanted` is the rule for one name, pure: its last attempt has failed, a 404 alone would remove it,
or what is published came from the index already. `json_api` has the rule for the API as a whole.
`SecondSource` asks for the project's page and the metadata of one file, each under a permit of its
own and within the limits of every request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from processors import index_document
from processors.agenda import Work
from processors.decide import (
    OUTAGE,
    REMOVALS,
    Attempt,
    Body,
    Failed,
    Failure,
    Missing,
    Patience,
    Reply,
    proof,
)
from processors.fetching import Outcome, failed, off_the_loop
from processors.index_document import Built
from processors.index_page import IndexPage, parse_page
from processors.json_api import JsonApi
from processors.trim import trim
from schemas.errors import InvalidName, OversizedBody, Permanent, RateLimited, Retriable
from schemas.names import NormalizedName, normalize
from schemas.records import Source, State
from schemas.redaction import NO_RULES, Rules
from upstream.source import Document, FileMetadata, NotFound, Upstream


def wanted(state: State, reply: Reply, attempt: Attempt, patience: Patience) -> bool:
    """Whether this answer alone is a reason to ask the index for the name."""
    if attempt.event != state.event:
        return False  # the newer event asks for itself
    from_index = state.published and state.source is Source.INDEX
    if isinstance(reply, Missing):
        seen = replace(state, missing_ms=state.missing_ms or attempt.now_ms)
        unproved = may_contradict(state)
        return unproved and (from_index or proof(seen, attempt, patience) != "")
    if isinstance(reply, Failed):
        if from_index and not reply.reason.startswith(OUTAGE):
            return True
        return patience.next_ms(state.first_ms or attempt.now_ms, state.attempts + 1) is None
    return False


def may_contradict(state: State) -> bool:
    """Whether the project's page may overrule a 404: not if a journal row removed the project.

    A serial map that lacks the name is no row: it may be incomplete at that very moment.
    """
    return state.event_kind not in REMOVALS


def stands_still(state: State, serial: int) -> bool:
    """Whether a page with this serial is no newer than what is published, which is too old."""
    return state.published and serial <= state.body < state.event


def display_name(state: State, name: NormalizedName, serial: int) -> str:
    """The display name of the project at `serial`; "" if it is not known.

    A project's serial is that of the newest row under its present name, so the event with that
    serial has it. Other rows may have an earlier spelling: they count only if nothing is published.
    """
    newest = (state.event_name, state.name)
    for spelled in newest if serial == state.event else reversed(newest):
        try:
            if spelled and normalize(spelled) == name:
                return spelled
        except InvalidName:
            continue
    return ""


class Asked(NamedTuple):
    """A fetch that the JSON API has answered, and what was known at that time.

    `document` is the body that the answer was read from, if there was one.
    """

    outcome: Outcome
    state: State
    now_ms: int
    document: Document | None = None

    @property
    def work(self) -> Work:
        """The name and event that were asked for."""
        return self.outcome.work


class _Found(NamedTuple):
    page: IndexPage
    site: str  # the index's address without a path


@dataclass
class SecondSource:
    """The second source of one worker. The caller holds a slot for as long as an answer takes."""

    upstream: Upstream
    patience: Patience
    all_releases: bool
    rules: Rules = NO_RULES
    api: JsonApi = field(default_factory=JsonApi)

    def needs(self, asked: Asked) -> bool:
        """Whether `instead` has to be called; counts the answer among those of the API."""
        reply, trimmed = asked.outcome.reply, asked.outcome.trimmed
        if trimmed is not None and trimmed.lacks_releases:
            self.api.lacked()
            return True
        missing = isinstance(reply, Missing)
        look = missing and self.api.missed() and may_contradict(asked.state)
        attempt = Attempt(asked.work.event, asked.now_ms)
        alone = wanted(asked.state, reply, attempt, self.patience)
        if alone and isinstance(reply, Failed):
            self.api.lacked()  # for good, as far as this name goes: many of these are no accident
        return look or alone

    async def instead(self, asked: Asked) -> Outcome | None:
        """The outcome with the index's help; the same outcome if the index does not help.

        None: upstream asked us to wait, and the fetch counts for nothing.
        """
        try:
            if asked.document is not None and asked.outcome.trimmed is not None:
                return await self._completed(asked, asked.document)
            return await self._built(asked)
        except RateLimited:
            return None
        except (Retriable, Permanent) as error:
            if isinstance(asked.outcome.reply, Failed):
                return asked.outcome
            # While the index cannot be asked a 404 proves nothing, and a document without releases
            # must not replace one that has them.
            failure = Failure.TRANSPORT if isinstance(error, Retriable) else Failure.INDEX
            return self._unusable(asked, failure, error)

    async def _completed(self, asked: Asked, document: Document) -> Outcome:
        name, trimmed = asked.work.name, asked.outcome.trimmed
        found = await self._page(name)
        if found is None or found.page.quarantined:
            return self._unusable(asked, Failure.INDEX, "a document without releases, and no page")
        page = found.page
        if trimmed is not None and page.meta.serial is not None and page.serial < trimmed.serial:
            what = f"the page is at {page.serial}, the document at {trimmed.serial}"
            return self._unusable(asked, Failure.INDEX, what)
        built = await off_the_loop(
            len(document.body) + page.weight,
            lambda: index_document.complete(document.body, page, name),
        )
        return await self._read(asked, built, Source.BOTH, document.serial)

    async def _built(self, asked: Asked) -> Outcome:
        state, name = asked.state, asked.work.name
        found = await self._page(name)
        if found is None or not found.page.shows_files or found.page.serial == 0:
            # The index need not have what a row removed. Otherwise only the index's word counts
            # against that of an API in doubt.
            missing = isinstance(asked.outcome.reply, Missing)
            if self.api.doubted if missing else state.event_kind in REMOVALS:
                return Outcome(asked.work, Missing(by_index=True))
            return asked.outcome
        if isinstance(asked.outcome.reply, Failed) and stands_still(state, found.page.serial):
            return asked.outcome  # it has nothing to replace what failed for good
        if isinstance(asked.outcome.reply, Missing) and found.page.serial < state.event:
            # It shows the state before the event, which proves nothing either way.
            what = f"404, and the page is at {found.page.serial}, not at {state.event}"
            return self._unusable(asked, Failure.INDEX, what)
        built = await self._build(found, name, display_name(state, name, found.page.serial))
        return await self._read(asked, built, Source.INDEX, None)

    async def _page(self, name: NormalizedName) -> _Found | None:
        await self.upstream.permit()
        answer = await self.upstream.page(name)
        if isinstance(answer, NotFound):
            return None
        page = await off_the_loop(len(answer.body), lambda: parse_page(answer.body, name))
        parts = urlsplit(answer.url)
        return _Found(page, f"{parts.scheme}://{parts.netloc}")

    async def _build(self, found: _Found, name: NormalizedName, spelled: str) -> Built:
        page = found.page
        latest = await off_the_loop(page.weight, lambda: index_document.latest_of(page, name))
        metadata = None
        if latest.described_by is not None:
            metadata = await self._metadata(latest.described_by.url)
        return await off_the_loop(
            page.weight + len(metadata or b""),
            lambda: index_document.build(page, latest, name, spelled, found.site, metadata),
        )

    async def _metadata(self, url: str) -> bytes | None:
        await self.upstream.permit()
        try:
            answer = await self.upstream.core_metadata(url)
        except OversizedBody:
            return None  # a document without a summary is better than none
        return answer.body if isinstance(answer, FileMetadata) else None

    async def _read(
        self, asked: Asked, built: Built, source: Source, header_serial: int | None
    ) -> Outcome:
        name = asked.work.name
        trimmed = await off_the_loop(
            len(built.body),
            lambda: trim(
                built.body,
                name,
                header_serial=header_serial,
                all_releases=self.all_releases,
                left_out=self.rules.fields(name),
            ),
        )
        odd = tuple(sorted({*trimmed.anomalies, *built.anomalies}))
        trimmed = trimmed._replace(anomalies=odd)
        self.api.caught(asked.now_ms)
        # Without an ETag: "unchanged" would mean that the API still lacks the releases.
        body = Body(
            trimmed.serial, trimmed.hash, trimmed.display_name, "", trimmed.own_serial, source
        )
        reply, evidence = asked.outcome.reply, asked.outcome.evidence
        why = reply.reason if isinstance(reply, Failed) else ""
        return Outcome(asked.work, body, trimmed, evidence, source, why)

    def _unusable(self, asked: Asked, failure: Failure, what: object) -> Outcome:
        evidence = asked.outcome.evidence
        return Outcome(asked.work, failed(failure, what), evidence=evidence)

"""From a verdict to the records of `metadata`, `releases`, `state` and `dead-letter`. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from processors.decide import Effect, Verdict, same_failure
from processors.trim import Trimmed
from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.names import NormalizedName
from schemas.records import DeadLetter, Reason, Source, State, Status
from schemas.topics import Topic
from streams.log import Headers, Outgoing, Record

REASON_CHARACTERS_MAX = 200  # of a reason in `state`, which should stay near 100 bytes a name
EXCERPT_BYTES_MAX = 4096  # of a body that could not be used: enough to see what it was


class Answered(NamedTuple):
    """An answered fetch, from which the records are made.

    `before` is the state that was answered, `source` what the document was made from,
    `evidence` the first bytes of a body that could not be used, `failed` why it could not where
    another source stands in for it.
    """

    name: NormalizedName
    before: State
    verdict: Verdict
    now_ms: int
    trimmed: Trimmed | None = None
    source: Source = Source.JSON
    evidence: bytes = b""
    failed: str = ""

    @property
    def given_up(self) -> bool:
        """Whether this answer gave the JSON API up for the name, and the index stands in.

        Not if its dead letter is written already: then the index stood in before, or could not
        until now.
        """
        before = self.before
        if before.status is Status.DEAD and same_failure(before.reason, self.failed):
            return False
        stands_in = before.published and before.source is Source.INDEX
        return bool(self.failed) and not stands_in


def records(answered: Answered, *, with_releases: bool) -> list[Outgoing]:
    """The records of one answer except `state`, in the order in which they are written."""
    effect = answered.verdict.effect
    if effect is Effect.PUBLISH and answered.trimmed is not None:
        found = _published(answered, answered.trimmed, with_releases=with_releases)
        return [*found, _dead_letter(answered)] if answered.given_up else found
    if effect is Effect.TOMBSTONE:
        topics = (Topic.METADATA, Topic.RELEASES) if with_releases else (Topic.METADATA,)
        return [
            Outgoing(topic, answered.name, None, _tombstone_headers(answered, topic))
            for topic in topics
        ]
    if effect is Effect.DEAD_LETTER:
        return [_dead_letter(answered)]
    return []


def state_record(name: NormalizedName, raw: bytes, now_ms: int) -> Outgoing:
    """The name's row in `state`, already encoded."""
    envelope = Envelope(
        id=f"{name}:{now_ms}",
        type="pypistream.state",
        subject=name,
        time=now_ms / 1000,
        dataschema=dataschema(Topic.STATE),
    )
    return Outgoing(Topic.STATE, name, raw, codec.headers(envelope))


def refused_ask(record: Record, reason: str, now_ms: int) -> Outgoing:
    """The dead letter of a record in `refetch` that is no ask.

    It has no key, which might be any text.
    """
    value = record.value or b""
    letter = DeadLetter(
        name="",
        reason=f"bad-ask: {reason}"[:REASON_CHARACTERS_MAX],
        serial=0,
        attempts=1,
        time_ms=now_ms,
        hash=hashlib.sha256(value).hexdigest(),
        excerpt=f"{record.key!r}: {value[:EXCERPT_BYTES_MAX].decode('utf-8', 'replace')}"[
            :EXCERPT_BYTES_MAX
        ],
    )
    envelope = Envelope(
        id=f"ask:{record.partition}:{record.offset}",
        type="pypistream.dead-letter",
        subject="",
        time=now_ms / 1000,
        dataschema=dataschema(Topic.DEAD_LETTER),
        reason="bad-ask",
    )
    headers = codec.headers(envelope)
    value = codec.encode(letter)
    return Outgoing(Topic.DEAD_LETTER, None, value, headers, partition=record.partition)


def _published(answered: Answered, trimmed: Trimmed, *, with_releases: bool) -> list[Outgoing]:
    name = answered.name
    metadata = Outgoing(
        Topic.METADATA, name, trimmed.metadata, _document_headers(answered, trimmed, Topic.METADATA)
    )
    if not with_releases:
        return [metadata]
    headers = _document_headers(answered, trimmed, Topic.RELEASES)
    return [metadata, Outgoing(Topic.RELEASES, name, trimmed.releases, headers)]


def _document_headers(answered: Answered, trimmed: Trimmed, topic: Topic) -> Headers:
    state = answered.verdict.state
    event = max(answered.before.event, state.event)
    # Published again, it is another record: a reader that skips known ids must not skip it.
    anew = f":{answered.now_ms}" if answered.before.ask is Reason.REPAIR else ""
    envelope = Envelope(
        id=f"{answered.name}:{event}:{state.body}:{trimmed.hash}{anew}",
        type=f"pypistream.{topic.value}",
        subject=answered.name,
        time=answered.before.event_time or answered.now_ms / 1000,
        dataschema=dataschema(topic),
        event_serial=event,
        serial=state.body,
        stale=True if answered.verdict.stale else None,
        source=answered.source.value,
        fetched_at=answered.now_ms / 1000,
        releases_omitted=trimmed.releases_omitted or None,
        anomalies=",".join(trimmed.anomalies) or None,
    )
    return codec.headers(envelope)


def _tombstone_headers(answered: Answered, topic: Topic) -> Headers:
    state = answered.verdict.state
    envelope = Envelope(
        id=f"{answered.name}:{state.event}:{state.reason}",
        type=f"pypistream.{topic.value}",
        subject=answered.name,
        time=answered.before.event_time or answered.now_ms / 1000,
        dataschema=dataschema(topic),
        event_serial=state.event,
        reason=state.reason,
    )
    return codec.headers(envelope)


def _dead_letter(answered: Answered) -> Outgoing:
    state = answered.verdict.state
    reason, attempts = state.reason, state.attempts
    if answered.failed:  # the settled state no longer has it
        reason, attempts = answered.failed, answered.before.attempts + 1
    letter = DeadLetter(
        name=state.event_name or state.name or answered.name,
        reason=reason,
        serial=state.event,
        attempts=attempts,
        time_ms=answered.now_ms,
        hash=hashlib.sha256(answered.evidence).hexdigest() if answered.evidence else "",
        excerpt=answered.evidence[:EXCERPT_BYTES_MAX].decode("utf-8", "replace"),
    )
    envelope = Envelope(
        id=f"{answered.name}:{state.event}:dead",
        type="pypistream.dead-letter",
        subject=answered.name,
        time=answered.now_ms / 1000,
        dataschema=dataschema(Topic.DEAD_LETTER),
        reason=reason,
    )
    return Outgoing(Topic.DEAD_LETTER, answered.name, codec.encode(letter), codec.headers(envelope))

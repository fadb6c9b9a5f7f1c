"""Rows, documents and states of one name, and the verdict on an answer."""

from __future__ import annotations

from processors.decide import (
    Attempt,
    Body,
    Patience,
    Verdict,
    decide,
)
from processors.owing import owe
from schemas.records import ChangelogEntry, Kind, State, Status

NOW = 1_700_000_000_000
PATIENCE = Patience()


def entry(serial: int, kind: Kind = Kind.NEW_RELEASE, name: str = "Foo") -> ChangelogEntry:
    return ChangelogEntry(serial, name, "1.0", NOW // 1000, kind.value, kind)


def body(serial: int, digest: str = "a", name: str = "Foo") -> Body:
    return Body(serial, digest, name, f'"{serial}-{digest}"')


def published(serial: int = 10, digest: str = "a") -> State:
    return State(Status.OK, serial, body=serial, name="Foo", hash=digest, etag='"x"')


def owed(state: State | None, serial: int, kind: Kind = Kind.NEW_RELEASE) -> State:
    found = owe(state, entry(serial, kind))
    assert found is not None
    return found


def answer(state: State, reply: object, after_seconds: float = 0) -> Verdict:
    return decide(state, reply, Attempt(state.event, NOW + int(after_seconds * 1000)), PATIENCE)  # type: ignore[arg-type]

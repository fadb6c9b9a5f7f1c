"""The values of the topics that are ours, as types. `metadata` and `releases` hold PyPI's own JSON.

All serials fit 63 bits; all `*_ms` are Unix time in milliseconds; all other times are Unix seconds.
Field names are the JSON keys; fields at their default are left out of `state` (written often).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

SERIAL_MAX = 2**63 - 1  # what a signed 64-bit column can hold


class Kind(StrEnum):
    """The meaning of a journal row's free text. An unknown action is CHANGE."""

    CREATE = "create"
    NEW_RELEASE = "new-release"
    ADD_FILE = "add-file"
    REMOVE_FILE = "remove-file"
    REMOVE_RELEASE = "remove-release"
    REMOVE_PROJECT = "remove-project"
    YANK = "yank"
    UNYANK = "unyank"
    QUARANTINE = "quarantine"
    UNQUARANTINE = "unquarantine"
    RELEASE_QUARANTINE = "release-quarantine"
    RELEASE_UNQUARANTINE = "release-unquarantine"
    ROLE = "role"
    CHANGE = "change"


class EventSource(StrEnum):
    """Where an event comes from: PyPI's journal or, without XML-RPC, a change of its index."""

    JOURNAL = "journal"
    INDEX = "index"


class ChangelogEntry(msgspec.Struct, frozen=True):
    """One journal row. `name` is the display name at that time, `time` Unix seconds."""

    serial: int
    name: str
    version: str | None
    time: int
    action: str
    kind: Kind
    source: EventSource = EventSource.JOURNAL


class Marker(msgspec.Struct, frozen=True, omit_defaults=True):
    """In `changelog`, key null: the partition's journal rows in (base, serial] lie before it.

    One made from an index counts only once everything before offset `refetch` of the partition's
    asks is decided, too: an index shows a removal only by what it lacks, which an ask checks.
    """

    base: int
    serial: int
    time: int
    refetch: int = 0


class Reason(StrEnum):
    """Why a name is asked for."""

    BACKFILL = "backfill"
    RECONCILE = "reconcile"
    SWEEP = "sweep"
    OPERATOR = "operator"
    REPAIR = "repair"


class Ask(msgspec.Struct, frozen=True, omit_defaults=True):
    """In `refetch`: fetch this name.

    `serial` is the one expected (0 = unknown), `map_serial` that of the map the ask was drawn from;
    `gone` = the map lacks the name; `whole` = without an ETag: the document must come.
    """

    name: str
    reason: Reason
    serial: int = 0
    map_serial: int = 0
    gone: bool = False
    whole: bool = False


class Filter(msgspec.Struct, frozen=True):
    """Which projects a log holds: globs on normalised names; no include = all."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class BackfillMarker(msgspec.Struct, frozen=True, omit_defaults=True):
    """In every partition of `refetch`, key null: a backfill opens (`closing` false) or closes.

    `low` is the map's own `_last-serial`. `names` is how many names of the map (after the filter)
    belong to this partition, `known` how many of those needed no ask.
    """

    run: str
    low: int
    names: int
    known: int = 0
    closing: bool = False
    filter: Filter = Filter()
    changed_since: int | None = None


class Status(StrEnum):
    """What is known of a name. All but OK and a final ABSENT are exceptions to the watermark."""

    OK = "ok"
    ABSENT = "absent"
    PENDING = "pending"
    PARKED = "parked"
    STALE = "stale"
    DEAD = "dead"


class Source(StrEnum):
    """What a document was made from: the JSON API, that and the index, or the index alone."""

    JSON = "json"
    BOTH = "json+index"
    INDEX = "index"


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """In `state`: what is known and owed per name.

    event       serial of the newest event (or ask) of this name
    body        serial of the newest body published, 0 = never
    gone        serial of the removal that a tombstone rests on, 0 = no tombstone
    hash        of the canonical trimmed + slim form of what is published
    seen        hash of an answer with an equal serial and other content, waiting for confirmation
    event_*     the newest event's kind, journal time, display name and version, while they matter
    attempts    answers so far that did not settle `event`; for ABSENT: 404s seen (2 = final)
    first_ms, next_ms   first attempt, next attempt due
    missing_ms  when the 404s began that no other answer has interrupted, 0 = the last was none
    ask         the reason of the ask being served, if it is one
    source      what the published document was made from, or whose word an absence is
    """

    status: Status
    event: int
    body: int = 0
    gone: int = 0
    name: str = ""
    etag: str = ""
    hash: str = ""
    seen: str = ""
    event_kind: Kind | None = None
    event_time: int = 0
    event_name: str = ""
    event_version: str | None = None
    attempts: int = 0
    first_ms: int = 0
    next_ms: int = 0
    missing_ms: int = 0
    reason: str = ""
    ask: Reason | None = None
    source: Source = Source.JSON

    @property
    def published(self) -> bool:
        """True while `metadata` holds a document (not a tombstone, not nothing) for this name."""
        return self.body > 0 and self.gone == 0

    @property
    def exception(self) -> bool:
        """True if the watermark does not speak for this name."""
        if self.status is Status.ABSENT:
            return self.attempts < ABSENT_LOOKS
        return self.status is not Status.OK

    def settled_by_map(self, serial: int, map_serial: int) -> bool:
        """Whether a map that has the name at `serial` proves that what is published is the latest.

        It does if the event's serial is above the body's and the map, as new as the event, has the
        body's own. It proves nothing for a pending name, which has not been asked for yet, nor for
        content that changed without a serial and waits for its confirmation.
        """
        waits = self.status in (Status.PARKED, Status.STALE, Status.DEAD) and not self.seen
        behind = self.published and self.body < self.event
        return waits and behind and map_serial >= self.event and serial == self.body


ABSENT_LOOKS = 2  # a first 404 may be spurious; a second one, a minute later, is believed


class BackfillProgress(msgspec.Struct, frozen=True):
    """A backfill in one partition: `done` of its `names` are decided.

    `opened` is the offset of its opening marker in `refetch`, `known` the names that needed no ask.
    `closed`: this partition is done; its names still count until the others are, too.
    """

    run: str
    names: int
    done: int
    opened: int = 0
    known: int = 0
    closed: bool = False


class Cut(msgspec.Struct, frozen=True, omit_defaults=True):
    """In partition p of `progress`, key `p`, in every worker transaction: one consistent place.

    `changelog`, `refetch`: next offset to read. `metadata`, `releases`, `state`: next offset after
    this transaction. The marker (base, serial] is the last one passed; serial 0 = none yet.
    `low` is the low mark of the first backfill that closed here; base is 0 from then on.
    `swept`: how many changes were found here that nothing but the sweep had asked for.
    `redacted`: so many rules of redaction are applied to everything that the partition holds.
    """

    changelog: int
    refetch: int
    metadata: int
    releases: int
    state: int
    base: int = 0
    serial: int = 0
    time: int = 0
    low: int = 0
    backfill: BackfillProgress | None = None
    swept: int = 0
    redacted: int = 0


class Config(msgspec.Struct, frozen=True):
    """In partition N of `progress`, key `config`, written once before anything else.

    `leave_out`: fields of every document that are null from the beginning, see `schemas.redaction`.
    """

    log_id: str
    partitions: int
    schema_version: int
    filter: Filter = Filter()
    releases: str = "all"
    created: int = 0
    leave_out: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True):
    """In partition N + 1 of `progress`, key `redaction:…`, one per rule: what is left out for ever.

    `name` (normalised) "" = of every project; `fields`: see `schemas.redaction`. `time` is when it
    was made; two rules that differ only in it are the same.
    """

    name: str
    fields: tuple[str, ...]
    time: int = 0


class History(msgspec.Struct, frozen=True):
    """How much of the journal from before the log's base was read, as rows with the header `late`.

    Every row in (since, serial] lies before `changelog`, the next offset of each of its partitions;
    in a log that was loaded from a dump with a journal, `since` is where that journal began. The
    same holds for every row in (0, earlier], which was asked for and read afterwards.
    """

    serial: int
    changelog: tuple[int, ...]
    since: int = 0
    earlier: int = 0


class Head(msgspec.Struct, frozen=True):
    """In partition N of `progress`, key `head`, with every page: how far the journal was read.

    `history` null = nobody has asked for the rows at or below `base`. `ahead`: names to which an
    index gave a serial above its own, with that serial: they have been written as events already.
    """

    serial: int
    base: int
    time: int
    changelog: tuple[int, ...]
    source: EventSource = EventSource.JOURNAL
    history: History | None = None
    ahead: dict[str, int] = {}


class HistoryAsked(msgspec.Struct, frozen=True):
    """In partition N + 1 of `progress`, key `history`: read the journal from serial 0 on."""

    asked: int


class Hold(msgspec.Struct, frozen=True):
    """In partition N + 1 of `progress`, key `hold`: until when upstream asked us to wait."""

    until_ms: int
    reason: str


class RateHanded(msgspec.Struct, frozen=True):
    """A part of the rate (a partition) handed to the holder whose sign of that number claims it."""

    part: int
    holder: str
    number: int


class RateSign(msgspec.Struct, frozen=True, omit_defaults=True):
    """In partition N + 1 of `progress`, key `rate:…`: a process claims parts of the rate.

    Written twice a second by each process that shares a rate. `number` counts signs of `holder`;
    `parts`: the partitions it claims, none = all are given back; `handed`: those given to others.
    """

    holder: str
    number: int
    parts: tuple[int, ...]
    handed: tuple[RateHanded, ...] = ()


class Sweep(msgspec.Struct, frozen=True, omit_defaults=True):
    """In partition N + 1 of `progress`, key `sweep`: how far the present round of the sweep is.

    round          1 for the first
    every          seconds a round is to take; 0 = as fast as it may
    started, time  Unix seconds: of the round, and of this record
    ended          when the last ask of the round was written, 0 = not yet
    names, asked   how many names the round has, and how many of them were asked for
    name           every name up to this one was asked for; "" = still at `dead` and `stale` ones
    before         what all cuts' `swept` came to when the round began
    """

    round: int
    every: float
    started: int
    time: int
    ended: int = 0
    names: int = 0
    asked: int = 0
    name: str = ""
    before: int = 0


class Alive(msgspec.Struct, frozen=True, omit_defaults=True):
    """In partition N of `progress`, key `alive`: a sign of life of the holder of the `produce` id.

    Written every few seconds by that id, on brokers only. `ended`: the last one, it has stopped.
    `machine`, `pid` and `begun` let another process on the same machine see whether it still runs.
    """

    holder: str
    time: int
    ended: bool = False
    machine: str = ""
    pid: int = 0
    begun: int = 0


Places = tuple[tuple[int, int, int, int, int] | None, ...]
"""Where a vector's cuts lie, per partition: next offsets of changelog, refetch, metadata, releases
and state, which tell any two cuts of a log apart. None = no cut yet."""


class Bootstrap(msgspec.Struct, frozen=True, omit_defaults=True):
    """In partition N of `progress`, key `bootstrap`: the log was loaded from another one's dump.

    loading  a load is in progress or was killed: the log is incomplete, no process may work on it
    log      the other log's id, `places` how much of it was taken in, `source` where it came from
    cuts     what this log's own cuts were after that: with others it has gone its own way
    The same with `loading` alone stands in each worker's partition while it is true.
    """

    loading: bool = False
    log: str = ""
    places: Places = ()
    source: str = ""
    time: int = 0
    cuts: tuple[Cut, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True):
    """In `dead-letter`: evidence of what could not be processed. `excerpt`: up to 4 KiB of text."""

    name: str
    reason: str
    serial: int
    attempts: int
    time_ms: int
    hash: str = ""
    excerpt: str = ""


SCHEMA_VERSION = 1
"""Of topics and dumps; a breaking change makes `*.v2.schema.json` and raises this."""

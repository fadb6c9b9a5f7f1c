"""The error tree. Each leaf says what to do; no other error crosses a package border.

PypistreamError
├── Retriable                 wait (`retry_after_seconds` if upstream named a time), then try again
│   ├── UpstreamUnavailable       no connection, time-out, 5xx, redirect that may not be followed
│   ├── RateLimited               429, Retry-After, XML-RPC -32500: every process waits
│   ├── BrokenBody                truncated, wrong length, bad gzip: never parsed
│   └── DiskFull                  no space left for a sink's files: what is published stays
├── Permanent                 dead-letter, once the schedule is used up
│   ├── OversizedBody             more bytes than the limit for that route
│   ├── MalformedMetadata         not JSON, not UTF-8, too deep, not a project document
│   ├── ForeignMetadata           a document of another project
│   ├── MalformedRow              a changelog row of the wrong shape
│   └── InvalidName               not a project name (PEP 508)
└── Fatal                     stop; the text names the command that mends it
    ├── UpstreamRefused           the server of a dump refuses access (401, 403)
    ├── JournalGone               XML-RPC is not served any more (404, 410, 501)
    ├── SerialJumped              the journal's serial rose by more than is believable
    ├── WriterFenced              another process took this writer id
    ├── NoProgress                no progress again and again: start a new process
    ├── LogCorrupt                a record's checksum does not match
    ├── LogTruncated              a stored position lies below the log's start
    ├── LogFull                   no space left for the log
    ├── LogBroken                 the disk under the log failed: open the log in a new process
    ├── LogMismatch               made with another partition count, filter or schema version
    ├── LogRefused                the log's server refuses: password, certificate authority, right
    ├── TopicsMissing             the log's server is there, its topics are not
    ├── DataDirectoryInUse        a live process holds this role
    ├── DataDirectoryVersion      made by a version this one cannot read
    ├── StorageFailed             the disk under a sink's files failed otherwise than for space
    ├── DumpCorrupt               length, checksum or manifest do not match
    ├── DeltasMissing             no delta leads on from here: load the dump again
    ├── ViewCorrupt               the DuckDB file cannot be opened: it can be rebuilt
    ├── NotPublished              nothing has been published there yet
    ├── QueryFailed               the user's SQL cannot be run
    └── UsageError                settings that cannot work; exit code 2
"""

from __future__ import annotations

from typing import ClassVar


class PypistreamError(Exception):
    """Root. `str(error)` is one line: what happened, why; `hint` is what to do next.

    `usual_hint` is the class's hint, for errors that are raised without one.
    """

    usual_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.usual_hint


class Retriable(PypistreamError):
    """Wait, then try again."""

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class UpstreamUnavailable(Retriable):
    """No connection, a time-out, a 5xx answer, or a redirect that may not be followed."""


class RateLimited(Retriable):
    """Upstream asked us to wait: 429, Retry-After or XML-RPC fault -32500."""


class BrokenBody(Retriable):
    """The body ended early, had another length than announced, or its gzip stream is damaged."""


class DiskFull(Retriable):
    """No space left for a sink's files.

    What is published is untouched, the next attempt may succeed.
    """


class Permanent(PypistreamError):
    """Trying again gives the same result: dead-letter it once the schedule is used up."""


class OversizedBody(Permanent):
    """More bytes than the route's limit; `bytes_seen` is how many were read before giving up."""

    def __init__(self, message: str, *, bytes_seen: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.bytes_seen = bytes_seen


class MalformedMetadata(Permanent):
    """Not UTF-8, not JSON, nested too deep, or not a project document; `reason` is a short slug."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ForeignMetadata(Permanent):
    """The document names another project than the one asked for."""

    def __init__(self, message: str, *, asked: str, got: str) -> None:
        super().__init__(message)
        self.asked = asked
        self.got = got


class MalformedRow(Permanent):
    """A changelog row of the wrong shape; the page goes on without it."""


class InvalidName(Permanent):
    """Not a project name (PEP 508: ASCII letters, digits, `.`, `_`, `-`)."""


class Fatal(PypistreamError):
    """Stop: going on would lose or damage something."""


class UpstreamRefused(Fatal):
    """The server of a dump to begin with refuses access: 401, 403."""


class JournalGone(Fatal):
    """XML-RPC is not served any more: 404, 410 or 501 on its route."""


class SerialJumped(Fatal):
    """The journal's serial rose by more than is believable."""


class WriterFenced(Fatal):
    """Another process took this writer id; what was not committed is discarded."""


class NoProgress(Fatal):
    """A role was restarted several times in a row without any progress.

    A partition's worker has work and writes nothing, or a child process ends each time. The cause
    may be in this process or outside of it; a supervisor should start a new process.
    """


class LogCorrupt(Fatal):
    """A record's checksum does not match what is stored."""

    usual_hint = (
        "`pypistream doctor --deep` finds all of it; bring back a backup, or begin anew with"
        " `pypistream run --backfill` in a new --data directory"
    )


class LogTruncated(Fatal):
    """A stored position lies below the first offset that the log still has."""


class LogFull(Fatal):
    """No space left where the log lies; nothing of the transaction was written."""


class LogBroken(Fatal):
    """The disk under the log failed (I/O error, failed fsync).

    Its content is unknown until a new process has opened it; this process may be shown cached pages
    that were never written.
    """


class LogMismatch(Fatal):
    """The log was made with another partition count, filter or schema version."""


class LogRefused(Fatal):
    """The log's server says no: wrong password, unknown authority, missing right."""


class TopicsMissing(Fatal):
    """The log's server does not have the log's topics, or not all of them."""


class DataDirectoryInUse(Fatal):
    """A live process holds this role on the data directory."""


class DataDirectoryVersion(Fatal):
    """The data directory was made by a version that this one cannot read."""


class StorageFailed(Fatal):
    """A sink's file cannot be written or read: permissions, a read-only or a failing disk."""

    usual_hint = "mend what is named (its owner, permissions, a failing disk: `dmesg`), then again"


class DumpCorrupt(Fatal):
    """A dump's file does not match its manifest."""

    usual_hint = (
        "`pypistream rebuild dump` makes one's own anew; another's: fetch it again, or tell whoever"
        " serves it"
    )


class DeltasMissing(Fatal):
    """No delta continues what was loaded: deltas are kept for a limited time, or one is lost."""


class ViewCorrupt(Fatal):
    """The DuckDB file cannot be opened; `pypistream rebuild duckdb` makes it anew from the log."""

    usual_hint = "`pypistream rebuild` makes it anew from the log"


class NotPublished(Fatal):
    """There is no snapshot or dump to read yet."""


class QueryFailed(Fatal):
    """The user's SQL is wrong, not allowed, or needs more memory than it may have."""


class UsageError(Fatal):
    """Settings that cannot work."""

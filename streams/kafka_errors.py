"""Translates Kafka's errors into ours (codes: kafka.apache.org/protocol#protocol_error_codes).

A broker says why it refuses, but aiokafka sometimes wraps that in an error of its own. So the whole
chain of causes is searched, and the first error with a known meaning counts.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterable, Iterator

from aiokafka import errors as kafka

from schemas.errors import (
    LogCorrupt,
    LogRefused,
    LogTruncated,
    OversizedBody,
    PypistreamError,
    UsageError,
    WriterFenced,
)
from streams.log import LogUnavailable

GRANT = "docs/kafka.md, Security, lists what each role needs"
CHECK_TOPICS = "look at the topics: pypistream topics --check"

Kinds = tuple[type[BaseException], ...]

_FENCED: Kinds = (
    kafka.ProducerFenced,
    kafka.InvalidProducerEpoch,
    kafka.InvalidProducerIdMapping,  # taken by another, or forgotten by the broker
)
_CORRUPT: Kinds = (kafka.CorruptRecordException,)
_TRUNCATED: Kinds = (kafka.OffsetOutOfRangeError,)
_OVERSIZED: Kinds = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.RecordTooLargeError,
)
_LOGIN: Kinds = (kafka.SaslAuthenticationFailed, kafka.AuthenticationFailedError)
_SETTINGS: Kinds = (
    kafka.UnsupportedSaslMechanismError,
    kafka.AuthenticationMethodNotSupported,
    kafka.IllegalSaslStateError,
    kafka.InvalidTopicError,
    kafka.InvalidPartitionsError,
    kafka.InvalidReplicationFactorError,
    kafka.InvalidReplicationAssignmentError,
    kafka.InvalidConfigurationError,
    kafka.InvalidTransactionTimeout,
    kafka.PolicyViolationError,
    kafka.UnsupportedVersionError,
    kafka.UnsupportedForMessageFormatError,
    kafka.IncompatibleBrokerVersion,
    kafka.UnrecognizedBrokerVersion,
    kafka.UnsupportedCodecError,
)
_RIGHTS: dict[type[BaseException], tuple[str, str]] = {  # error: resource, its kafka-acls flag
    kafka.TopicAuthorizationFailedError: ("topic", "--topic"),
    kafka.GroupAuthorizationFailedError: ("group", "--group"),
    kafka.TransactionalIdAuthorizationFailed: ("transactional id", "--transactional-id"),
    kafka.ClusterAuthorizationFailedError: ("cluster", "--topic"),
}
_OPERATIONS = {  # by resource, and for a topic by what was to be done with it; Read by default
    "group": "Read",
    "transactional id": "Write",
    "cluster": "Write",
    "append": "Write",
    "commit": "Write",
    "take": "Write",
    "look": "Describe",
    "create": "Create",
    "describe": "DescribeConfigs",
    "alter": "AlterConfigs",
}
_ANY: Kinds = (
    kafka.KafkaError,
    kafka.ConsumerStoppedError,
    kafka.IllegalOperation,
    OSError,  # TimeoutError, ConnectionError and ssl.SSLError among them
    EOFError,  # asyncio.IncompleteReadError
)
_DEPTH_MAX = 8  # causes searched; a chain is two or three long


@contextlib.contextmanager
def translated(action: str, principal: str = "") -> Iterator[None]:
    """Translate aiokafka's errors in the block. `action` completes "cannot ...".

    `principal` is who was refused, where the caller knows (SecuritySettings.principal).
    """
    try:
        yield
    except _ANY as error:
        raise meaning(error, action, principal) from error
    except AssertionError as error:
        if not _of_aiokafka(error):
            raise
        # its own state is inconsistent after an earlier error
        raise LogUnavailable(
            f"cannot {action}: the Kafka client is out of step: {error}"
        ) from error


def meaning(error: BaseException, action: str, principal: str = "") -> PypistreamError:
    """The error of ours that says what to do."""
    for cause in _chain(error):
        found = _known(cause, action, principal)
        if found is not None:
            return found
    if isinstance(error, TimeoutError | kafka.KafkaTimeoutError | kafka.RequestTimedOutError):
        return LogUnavailable(f"cannot {action}: no answer from Kafka in time")
    return LogUnavailable(f"cannot {action}: {text_of(error)}")


def _known(error: BaseException, action: str, principal: str) -> PypistreamError | None:
    said = f"cannot {action}: {text_of(error)}"
    if isinstance(error, _FENCED):
        return WriterFenced(said, hint="another process has taken over, or the broker gave it up")
    if isinstance(error, _TRUNCATED):
        return LogTruncated(said)
    if isinstance(error, _CORRUPT):
        return LogCorrupt(said, hint="the broker or the line damaged it: see the broker's log")
    if isinstance(error, _OVERSIZED):
        return OversizedBody(said, bytes_seen=_first_number(said), hint=CHECK_TOPICS)
    if isinstance(error, tuple(_RIGHTS)):
        return missing_right(error, action, principal)
    if isinstance(error, _LOGIN):
        return LogRefused(said, hint="check the Kafka user name, password and mechanism")
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", error)
        return LogRefused(
            f"cannot {action}: the broker's certificate is refused: {why}",
            hint="--kafka-cafile FILE names the authority that signed it",
        )
    if isinstance(error, _SETTINGS):
        return UsageError(said)
    return None


def missing_right(error: BaseException, action: str, principal: str = "") -> LogRefused:
    """The error with the missing right, who lacks it, and the command that grants it."""
    kind = next(kind for kind in _RIGHTS if isinstance(error, kind))
    resource, flag = _RIGHTS[kind]
    operation = _OPERATIONS.get(resource) or _OPERATIONS.get(action.split(maxsplit=1)[0], "Read")
    who = principal or "the Kafka user"
    names = sorted(_names(error.args))
    many = "s" if len(names) > 1 else ""
    lacks = f"lacks the right {operation} on the {resource}{many} {', '.join(names)}".rstrip()
    if isinstance(error, kafka.ClusterAuthorizationFailedError):
        # KIP-679: a plain producer needs that right on any topic, or one on the cluster
        lacks, names = "has the right Write on no topic", []
    granted = who if who.startswith("User:") else "User:NAME"
    targets = " ".join(f"{flag} {name}" for name in names or ["NAME"])
    return LogRefused(
        f"cannot {action}: {who} {lacks}",
        hint=f"kafka-acls --bootstrap-server HOST:PORT --add --allow-principal {granted} "
        f"--operation {operation} {targets} ({GRANT})",
    )


def text_of(error: BaseException) -> str:
    """One line: the error's own text, or what its kind means if it has none."""
    text = " ".join(str(error).split())
    if isinstance(error, kafka.BrokerResponseError) and not error.args:
        return " ".join(error.description.split()) or text
    return text or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_DEPTH_MAX):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _names(values: Iterable[object]) -> Iterator[str]:
    """Names of topics, groups or ids as aiokafka passes them: alone, in a set, or None."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, set | frozenset | list | tuple):
            yield from _names(value)


def _first_number(text: str) -> int:
    """Bytes of a record that is too large, as aiokafka says; 0 if only the broker saw it."""
    match = re.search(r"\b(\d+) bytes", text)
    return int(match[1]) if match else 0


def _of_aiokafka(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals["__name__"]).startswith("aiokafka")

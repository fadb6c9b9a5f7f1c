"""How to reach a Kafka cluster, and as which user. The caller reads the environment.

Secrets: the password stands in no repr, no error and no log line. It is kept in memory only.
"""

from __future__ import annotations

import logging
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context

from schemas.errors import UsageError
from schemas.topics import PREFIX, Topic

CLIENT_ID = "pypistream"  # appears in the broker's request log and quotas; no right depends on it

REQUEST_TIMEOUT_MS = 15_000
"""One answer of one broker, and one connection. Long enough for a fetch with a record of 16 MiB
over 10 Mbit/s, and for a group that waits for a silent member's session to end (keep that shorter);
short enough that a broker which is gone without a word is noticed four times within the minute in
which work has to resume."""

METADATA_MAX_AGE_MS = 30_000
"""A leader that moved is learnt from the first refusal; this is for what nobody refuses (a broker
replaced while idle, a metadata request that failed): half of the minute in which work resumes."""

TLS_PROTOCOLS = ("SSL", "SASL_SSL")
SASL_PROTOCOLS = ("SASL_PLAINTEXT", "SASL_SSL")
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

# Errors are raised, and reported once in our words. The client's own log lines, ten a second while
# a broker is away, are for those who configure logging to see them. Lines of level DEBUG hold each
# request, the login included: nobody may see them.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())
logging.getLogger("aiokafka.conn").setLevel(logging.INFO)

_TOPIC_NAME_MAX = 249  # characters: Kafka's Topic.MAX_NAME_LENGTH
# The longest topic's name has to follow it.
_PREFIX_MAX = _TOPIC_NAME_MAX - max(len(topic) for topic in Topic)
_PREFIX = re.compile(r"[A-Za-z0-9._-]+")  # Kafka's Topic.LEGAL_CHARS
_SERVER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:,/\[\]]+)):(?P<port>\d{1,5})")
_PORT_MAX = 65_535  # 16 bits


@dataclass(frozen=True)
class SecuritySettings:
    """Our credentials and the protection of the connection. Raises UsageError if they cannot work.

    protocol    PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
    mechanism   of SASL_*: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
    cafile      PEM authorities that may vouch for the brokers; "" = those of the system
    certfile    PEM certificate chain of this client (mTLS), with its unencrypted `keyfile`
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""

    def __post_init__(self) -> None:
        _one_of("protocol", self.protocol, PROTOCOLS)
        if self.sasl:
            self._check_sasl()
        elif self.username or self.password:
            raise UsageError(
                f"a Kafka user name or password is given, and {self.protocol} sends neither",
                hint="set the Kafka protocol to SASL_SSL, or leave the user name and password out",
            )
        files = self.cafile or self.certfile or self.keyfile
        if files and not self.tls:
            raise UsageError(
                f"{files} is given, and {self.protocol} is not encrypted",
                hint="set the Kafka protocol to SSL or SASL_SSL, or leave the file out",
            )
        if bool(self.certfile) != bool(self.keyfile):
            given, missing = ("certificate", "key") if self.certfile else ("key", "certificate")
            raise UsageError(
                f"a Kafka client {given} without its {missing}",
                hint="mTLS needs both files: --kafka-certfile FILE --kafka-keyfile FILE",
            )

    def _check_sasl(self) -> None:
        _one_of("mechanism", self.mechanism, MECHANISMS)
        if not self.username:
            raise UsageError(
                f"{self.protocol} needs a Kafka user name", hint="add --kafka-username NAME"
            )
        if not self.password:
            raise UsageError(
                f"no password for the Kafka user {self.username!r}",
                hint="put it into PYPISTREAM_KAFKA_PASSWORD or --kafka-password-file FILE",
            )

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol in TLS_PROTOCOLS

    @property
    def sasl(self) -> bool:
        """Whether a name and password are sent."""
        return self.protocol in SASL_PROTOCOLS

    @property
    def principal(self) -> str:
        """Who we are to the broker, as far as a client can know: `User:NAME` or a description."""
        if self.sasl:
            return f"User:{self.username}"
        if self.certfile:
            return f"the subject of {self.certfile}"
        return "User:ANONYMOUS"

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS settings, made from the files as they are now. Raises UsageError for a bad file."""
        if not self.tls:
            return None
        for path in filter(None, (self.cafile, self.certfile, self.keyfile)):
            _check_readable(path)
        try:
            context: ssl.SSLContext = create_ssl_context(cafile=self.cafile or None)
        except ssl.SSLError as error:
            raise UsageError(
                f"{self.cafile} holds no certificate authority: {_reason(error)}",
                hint="it must be PEM: lines between BEGIN CERTIFICATE and END CERTIFICATE",
            ) from error
        if self.certfile:
            try:
                # without this OpenSSL would prompt for a password on the terminal
                context.load_cert_chain(self.certfile, self.keyfile, password="")
            except ssl.SSLError as error:
                raise UsageError(
                    f"{self.certfile} and {self.keyfile} cannot be used: {_reason(error)}",
                    hint="they must be PEM, belong together, and the key must not be encrypted",
                ) from error
        return context


@dataclass(frozen=True)
class KafkaSettings:
    """A cluster and our names in it. Raises UsageError for settings that cannot work.

    bootstrap   HOST:PORT[,HOST:PORT...]: brokers to ask first; any one that answers will do
    prefix      of the names of topics, transactional ids and the group
    """

    bootstrap: str
    prefix: str = PREFIX
    security: SecuritySettings = field(default_factory=SecuritySettings)

    def __post_init__(self) -> None:
        if len(self.prefix) > _PREFIX_MAX or not _PREFIX.fullmatch(self.prefix):
            raise UsageError(
                f"{self.prefix!r} cannot begin the name of a Kafka topic",
                hint=f"1 to {_PREFIX_MAX} of the characters a-z A-Z 0-9 . _ -",
            )
        if not self.servers:
            raise UsageError("no Kafka broker is named", hint="--kafka HOST:PORT[,HOST:PORT...]")

    @property
    def servers(self) -> list[tuple[str, int]]:
        """Host and port of each bootstrap broker."""
        return [_server(text) for text in self.bootstrap.split(",") if text.strip()]

    def connection(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes (consumer, producer, admin).

        Raises UsageError for a certificate or key that cannot be read.
        """
        arguments: dict[str, Any] = {
            "bootstrap_servers": [f"{_bracketed(host)}:{port}" for host, port in self.servers],
            "client_id": CLIENT_ID,
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
            "metadata_max_age_ms": METADATA_MAX_AGE_MS,
            "security_protocol": self.security.protocol,
        }
        if self.security.tls:
            arguments["ssl_context"] = self.security.ssl_context()
        if self.security.sasl:
            arguments["sasl_mechanism"] = self.security.mechanism
            arguments["sasl_plain_username"] = self.security.username
            arguments["sasl_plain_password"] = self.security.password
        return arguments


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown Kafka {what} {value!r}", hint=f"one of {', '.join(known)}")


def _server(text: str) -> tuple[str, int]:
    match = _SERVER.fullmatch(text.strip())
    if not match or not 0 < int(match["port"]) <= _PORT_MAX:
        raise UsageError(
            f"{text.strip()!r} is no address of a Kafka broker", hint="HOST:PORT[,HOST:PORT...]"
        )
    return match["v6"] or match["host"], int(match["port"])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="check its name, owner and permissions"
        ) from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "not PEM").lower().replace("_", " ")

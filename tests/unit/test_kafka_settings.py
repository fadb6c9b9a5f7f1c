"""Settings of the Kafka connection: what cannot work is said before anything connects."""

from __future__ import annotations

import dataclasses
import logging
import ssl

import pytest

from schemas.errors import UsageError
from streams.kafka_settings import (
    METADATA_MAX_AGE_MS,
    REQUEST_TIMEOUT_MS,
    KafkaSettings,
    SecuritySettings,
)

SECRET = "correct horse"


def scram(**changes: str) -> SecuritySettings:
    """A login over TLS."""
    given = {"protocol": "SASL_SSL", "username": "alice", "password": SECRET, **changes}
    return SecuritySettings(**given)


def test_plain_text_needs_nothing_but_an_address() -> None:
    """The default: no TLS, no login; every client gets the same arguments."""
    assert KafkaSettings("a:9092, b.example.org:9093,[::1]:9094").connection() == {
        "bootstrap_servers": ["a:9092", "b.example.org:9093", "[::1]:9094"],
        "client_id": "pypistream",
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "security_protocol": "PLAINTEXT",
    }


def test_a_login_over_tls_is_passed_on() -> None:
    """User, password, mechanism, and a context that checks host names."""
    arguments = KafkaSettings("a:1", security=scram()).connection()
    context = arguments["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert arguments["security_protocol"] == "SASL_SSL"
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert arguments["sasl_plain_username"] == "alice"
    assert arguments["sasl_plain_password"] == SECRET


def test_a_login_without_tls_gets_no_context() -> None:
    """SASL_PLAINTEXT: the library would take a context for a wish."""
    arguments = KafkaSettings("a:1", security=scram(protocol="SASL_PLAINTEXT")).connection()
    assert "ssl_context" not in arguments


def test_the_password_is_in_no_text() -> None:
    """Neither alone nor inside the settings of a cluster."""
    settings = KafkaSettings("a:1", security=scram())
    for text in (repr(settings), str(settings), repr(settings.security), f"{settings.security}"):
        assert SECRET not in text
        assert "alice" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"protocol": "TLS"}, "unknown Kafka protocol 'TLS'"),
        ({"protocol": "SASL_SSL", "password": SECRET}, "needs a Kafka user name"),
        ({"protocol": "SASL_SSL", "username": "bob"}, "no password for the Kafka user 'bob'"),
        (
            {"protocol": "SASL_SSL", "username": "b", "password": SECRET, "mechanism": "GSSAPI"},
            "unknown Kafka mechanism 'GSSAPI'",
        ),
        ({"username": "bob"}, "PLAINTEXT sends neither"),
        ({"protocol": "SSL", "password": SECRET}, "SSL sends neither"),
        ({"cafile": "ca.pem"}, "ca.pem is given, and PLAINTEXT is not encrypted"),
        ({"protocol": "SSL", "certfile": "me.crt"}, "a Kafka client certificate without its key"),
        ({"protocol": "SSL", "keyfile": "me.key"}, "a Kafka client key without its certificate"),
    ],
)
def test_what_cannot_work_is_said(given: dict[str, str], message: str) -> None:
    """With what to do about it, and never with the password."""
    with pytest.raises(UsageError, match=message) as caught:
        SecuritySettings(**given)
    assert caught.value.hint
    assert SECRET not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "bootstrap", ["", " , ", "a", "a:b", "a:0", "a:65536", "a b:1", "http://a:1"]
)
def test_an_address_must_be_one(bootstrap: str) -> None:
    """HOST:PORT, as many as one likes."""
    with pytest.raises(UsageError) as caught:
        KafkaSettings(bootstrap)
    assert "HOST:PORT" in caught.value.hint


@pytest.mark.parametrize("prefix", ["", "a b.", "ü.", "a/", "x" * 239])
def test_a_prefix_must_begin_a_topics_name(prefix: str) -> None:
    """Kafka's own rules: 249 characters of a few kinds."""
    with pytest.raises(UsageError, match="cannot begin the name"):
        KafkaSettings("a:1", prefix=prefix)
    KafkaSettings("a:1", prefix="x" * 238)


def test_who_we_are_is_named_as_far_as_it_is_known() -> None:
    """For errors about rights: Kafka's own way to write a user."""
    assert SecuritySettings().principal == "User:ANONYMOUS"
    assert scram().principal == "User:alice"
    mutual = SecuritySettings("SSL", certfile="me.crt", keyfile="me.key")
    assert mutual.principal == "the subject of me.crt"


def test_requests_are_logged_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """One of them is the login; not even who asks for everything sees it."""
    caplog.set_level(logging.DEBUG)
    library = logging.getLogger("aiokafka.conn")
    library.debug("Request: %s", SECRET)
    library.error("Unable to connect")
    assert caplog.messages == ["Unable to connect"]


def test_settings_cannot_be_changed() -> None:
    """They are shared by all clients of a process."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        KafkaSettings("a:1").prefix = "b"  # type: ignore[misc]  # that is the test

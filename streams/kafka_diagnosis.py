"""Why Kafka cannot be reached. aiokafka says "Unable to bootstrap" whatever the reason is.

So after such a failure the connection is tried step by step: name, port, TLS, Kafka's own greeting,
login, the brokers that the cluster names. The first step that fails is the reason. No message, ours
or the broker's, contains the password.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

from aiokafka import errors as kafka
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import LogRefused, PypistreamError, Retriable, UsageError
from streams.kafka_settings import KafkaSettings
from streams.log import LogUnavailable

STEP_SECONDS_MAX = 5.0  # of one step to one broker: even on a slow line a handshake takes less
LATE_ALERT_SECONDS = 1.0  # in TLS 1.3 a server refuses our certificate after the handshake is done
_UNTRUSTED = {18, 19, 20, 21}  # X509_V_ERR_*: self-signed, in chain, no issuer, no first signature
_OTHER_HOST = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH


async def diagnose(settings: KafkaSettings) -> PypistreamError:
    """Try to connect step by step and raise what fails; LogUnavailable if nothing does by now."""
    found: list[PypistreamError] = []
    brokers: set[tuple[str, int]] = set()
    for host, port in settings.servers:
        try:
            brokers |= await _walk(settings, host, port)
        except PypistreamError as error:
            found.append(error)
    if not found:
        found = await _unreachable(settings, brokers - set(settings.servers))
    return _chosen(found)


def _chosen(found: list[PypistreamError]) -> PypistreamError:
    """A permanent error first; else everything that was found, in one error."""
    for error in found:
        if not isinstance(error, Retriable):
            return error
    if not found:
        return LogUnavailable("Kafka was not reachable a moment ago; now it is")
    return LogUnavailable("; ".join(map(str, found)), hint=found[0].hint)


async def _unreachable(
    settings: KafkaSettings, brokers: set[tuple[str, int]]
) -> list[PypistreamError]:
    """The error for brokers that the cluster names but that cannot be reached from here."""
    found: list[PypistreamError] = []
    for host, port in sorted(brokers):
        try:
            await _walk(settings, host, port)
        except PypistreamError as error:
            hint = "advertised.listeners of the brokers must name addresses that clients reach"
            said = f"the cluster names a broker {host}:{port}, and {error}"
            found.append(
                type(error)(said, hint=hint if isinstance(error, Retriable) else error.hint)
            )
    return found


async def _walk(settings: KafkaSettings, host: str, port: int) -> set[tuple[str, int]]:
    """All steps to one broker; returns the brokers that it names. Raises what fails."""
    await _reach(host, port)
    if settings.security.tls:
        await _shake_hands(settings, host, port)
    return await _talk(settings, host, port)


async def _reach(host: str, port: int) -> None:
    """The name and the port."""
    at = f"{host}:{port}"
    try:
        async with _connected(host, port):
            return
    except socket.gaierror as error:
        raise LogUnavailable(
            f"Kafka's host {host!r} is not known here: {error.strerror}",
            hint="check --kafka HOST:PORT and the name service",
        ) from error
    except TimeoutError as error:
        raise LogUnavailable(
            f"nothing answers at {at} within {STEP_SECONDS_MAX:g} s",
            hint="is the host up? a firewall in between?",
        ) from error
    except ConnectionRefusedError as error:
        raise LogUnavailable(
            f"no Kafka broker listens at {at}", hint="check --kafka HOST:PORT; is the broker up?"
        ) from error
    except OSError as error:
        raise LogUnavailable(f"{at} cannot be reached: {error.strerror or error}") from error


async def _shake_hands(settings: KafkaSettings, host: str, port: int) -> None:
    """TLS: whether the authority is trusted, the host right, and a client certificate wanted."""
    security, at = settings.security, f"{host}:{port}"
    try:
        async with _connected(host, port, security.ssl_context()) as reader:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE_ALERT_SECONDS):
                    if not await reader.read(1):
                        raise ConnectionResetError("closed")
    except ssl.SSLCertVerificationError as error:
        raise _distrusted(error, security.cafile, host, at) from error
    except ssl.SSLError as error:
        reason = (error.reason or "").upper()
        if "ALERT" in reason:
            raise _unwelcome(reason, security.certfile, at) from error
        raise await _no_tls(settings, at, host, port) from error
    except TimeoutError as error:
        raise LogUnavailable(f"{at} does not finish a TLS handshake") from error
    except OSError as error:
        raise await _no_tls(settings, at, host, port) from error


def _distrusted(
    error: ssl.SSLCertVerificationError, cafile: str, host: str, at: str
) -> PypistreamError:
    if error.verify_code in _OTHER_HOST:
        return LogRefused(
            f"the certificate of {at} is not for {host!r}: {error.verify_message}",
            hint="use the name that stands in the certificate, or have it made for this one",
        )
    if error.verify_code in _UNTRUSTED:
        trusted = cafile or "the system's authorities"
        return LogRefused(
            f"the certificate of {at} is signed by an authority that is not among {trusted}"
            f" ({error.verify_message})",
            hint="--kafka-cafile FILE: the PEM certificate of the authority that signed it",
        )
    return LogRefused(f"the certificate of {at} is not valid: {error.verify_message}")


def _unwelcome(reason: str, certfile: str, at: str) -> PypistreamError:
    said = reason.split("ALERT_", 1)[-1].lower().replace("_", " ")
    if certfile:
        return LogRefused(
            f"{at} refuses our certificate {certfile}: {said}",
            hint="it must be signed by an authority that the brokers trust, and not be expired",
        )
    return LogRefused(
        f"{at} refuses the connection: {said}; it may want a client certificate, and none is given",
        hint="--kafka-certfile FILE --kafka-keyfile FILE",
    )


async def _no_tls(settings: KafkaSettings, at: str, host: str, port: int) -> PypistreamError:
    """The TLS handshake failed without a message: perhaps a port without TLS."""
    connection = None
    try:
        connection = await _greeted(settings, host, port, "PLAINTEXT")
    except (kafka.KafkaError, OSError):
        if settings.security.certfile:
            return LogUnavailable(f"{at} ends the TLS handshake without saying why")
        return LogRefused(
            f"{at} ends the TLS handshake without saying why; it may want a client certificate",
            hint="--kafka-certfile FILE --kafka-keyfile FILE",
        )
    finally:
        await _close(connection)
    plain = "SASL_PLAINTEXT" if settings.security.sasl else "PLAINTEXT"
    return UsageError(
        f"{at} does not speak TLS, and {settings.security.protocol} is set",
        hint=f"another port, or --kafka-security {plain} (nothing is encrypted then)",
    )


async def _talk(settings: KafkaSettings, host: str, port: int) -> set[tuple[str, int]]:
    """Kafka's greeting, our login, a first question."""
    security, at = settings.security, f"{host}:{port}"
    connection = None
    try:
        connection = await _greeted(settings, host, port, security.protocol)
        answer = await connection.send(MetadataRequest([], False))
    except (kafka.SaslAuthenticationFailed, kafka.AuthenticationFailedError) as error:
        raise LogRefused(
            f"{at} refuses the login of {security.principal} with {security.mechanism}: "
            "unknown user or wrong password",
            hint="check --kafka-username, the password and --kafka-mechanism",
        ) from error
    except kafka.UnsupportedSaslMechanismError as error:
        raise UsageError(
            f"{at} does not offer {security.mechanism}",
            hint="--kafka-mechanism: what the brokers have in sasl.enabled.mechanisms",
        ) from error
    except kafka.IllegalSaslStateError as error:
        other = "SSL" if security.tls else "PLAINTEXT"
        raise UsageError(
            f"{at} takes no logins, and {security.protocol} is set",
            hint=f"another port, or --kafka-security {other}",
        ) from error
    except TimeoutError as error:
        raise await _silent(settings, host, port) from error
    except (kafka.KafkaError, OSError) as error:
        raise await _hung_up(settings, host, port) from error
    finally:
        await _close(connection)
    return {(broker[1], broker[2]) for broker in answer.brokers}


async def _silent(settings: KafkaSettings, host: str, port: int) -> PypistreamError:
    at = f"{host}:{port}"
    if not settings.security.tls and await _speaks_tls(host, port):
        return _wants_tls(settings, at)
    return LogUnavailable(f"{at} takes the connection and then says nothing; is it a Kafka broker?")


async def _hung_up(settings: KafkaSettings, host: str, port: int) -> PypistreamError:
    """It closed the connection at our first request: it expected something else."""
    security, at = settings.security, f"{host}:{port}"
    if not security.tls and await _speaks_tls(host, port):
        return _wants_tls(settings, at)
    if not security.sasl and await _wants_login(settings, host, port):
        other = "SASL_SSL" if security.tls else "SASL_PLAINTEXT"
        return UsageError(
            f"{at} answers no questions without a login, and {security.protocol} is set",
            hint=f"--kafka-security {other} --kafka-username NAME, or another port",
        )
    return LogUnavailable(f"{at} closes the connection when it is spoken to; is it a Kafka broker?")


def _wants_tls(settings: KafkaSettings, at: str) -> UsageError:
    other = "SASL_SSL" if settings.security.sasl else "SSL"
    return UsageError(
        f"{at} speaks TLS, and {settings.security.protocol} is set",
        hint=f"--kafka-security {other}, or another port",
    )


async def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake works there, whoever it is."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE  # nothing is sent; this only tests the kind of port
    try:
        async with _connected(host, port, anyone):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "").upper()
    except OSError:
        return False


async def _wants_login(settings: KafkaSettings, host: str, port: int) -> bool:
    """Whether it greets us and then hangs up when it is asked, both on one connection.

    A broker that is just starting hangs up on one connection and greets on the next.
    """
    connection = None
    try:
        connection = await _greeted(settings, host, port, settings.security.protocol)
        await connection.send(MetadataRequest([], False))
    except TimeoutError:
        return False
    except (kafka.KafkaError, OSError):
        return connection is not None
    finally:
        await _close(connection)
    return False


async def _greeted(
    settings: KafkaSettings, host: str, port: int, protocol: str
) -> AIOKafkaConnection:
    """A connection on which the broker has said what it speaks and, with SASL, taken our login."""
    arguments = settings.connection()
    del arguments["bootstrap_servers"], arguments["metadata_max_age_ms"]
    arguments["security_protocol"] = protocol
    arguments["request_timeout_ms"] = int(STEP_SECONDS_MAX * 1000)
    return await create_conn(host, port, **arguments)


async def _close(connection: AIOKafkaConnection | None) -> None:
    if connection is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LATE_ALERT_SECONDS):
                await connection.close()


@contextlib.asynccontextmanager
async def _connected(
    host: str, port: int, context: ssl.SSLContext | None = None
) -> AsyncIterator[asyncio.StreamReader]:
    """A connection of our own. Raises OSError, TimeoutError and ssl.SSLError among them."""
    async with asyncio.timeout(STEP_SECONDS_MAX):
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LATE_ALERT_SECONDS):
                await writer.wait_closed()

"""Why Kafka cannot be reached: what needs no broker to be seen."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
from pathlib import Path

import pytest
from aiokafka.protocol.metadata import MetadataResponse_v1

from schemas.errors import LogRefused, UsageError
from streams import kafka_diagnosis
from streams.kafka_diagnosis import diagnose
from streams.kafka_settings import KafkaSettings, SecuritySettings
from streams.kafka_topics import ensure_topics
from streams.log import LogUnavailable
from tests.support import tools
from tests.support.kafka_line import Served, serving

API_VERSIONS, METADATA = 18, 3  # keys of requests


def free_port() -> int:
    """Nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def a_broker_that_names(host: str, port: int) -> Served:
    """Greets as Kafka does, and says that its cluster is one broker at that place."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            request = await reader.readexactly(size)
            key, _, correlation = struct.unpack(">hhi", request[:8])
            if key == API_VERSIONS:
                rows = [(API_VERSIONS, 0, 0), (METADATA, 1, 1)]
                body = struct.pack(">hi", 0, len(rows))
                body += b"".join(struct.pack(">hhh", *row) for row in rows)
            else:
                assert key == METADATA
                body = MetadataResponse_v1([(1, host, port, None)], 1, []).encode()
            answer = struct.pack(">i", correlation) + body
            writer.write(struct.pack(">i", len(answer)) + answer)
            await writer.drain()

    return served


async def test_nobody_listens() -> None:
    """All of the addresses are named, as it may be any of them that is wrong."""
    first, second = free_port(), free_port()
    error = await diagnose(KafkaSettings(f"127.0.0.1:{first},127.0.0.1:{second}"))
    assert isinstance(error, LogUnavailable)
    assert f"no Kafka broker listens at 127.0.0.1:{first}" in str(error)
    assert f"127.0.0.1:{second}" in str(error)
    assert "--kafka" in error.hint


async def test_the_reason_reaches_whoever_opens_the_log() -> None:
    """Not aiokafka's own words, which are the same for every reason."""
    port = free_port()
    with pytest.raises(LogUnavailable, match=f"no Kafka broker listens at 127.0.0.1:{port}"):
        await ensure_topics(KafkaSettings(f"127.0.0.1:{port}"), create=True)


async def test_a_host_that_is_not_known() -> None:
    """A slip of the hand, or a name service that is not up yet: worth another attempt."""
    error = await diagnose(KafkaSettings("kafka.invalid:9092"))
    assert isinstance(error, LogUnavailable)
    assert "host 'kafka.invalid' is not known here" in str(error)


async def test_something_else_listens() -> None:
    """A server that hangs up, and one that answers in its own way."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        await writer.drain()

    for served in (hang_up, answer):
        async with serving(served) as port:
            error = await diagnose(KafkaSettings(f"127.0.0.1:{port}"))
            assert isinstance(error, LogUnavailable)
            assert "is it a Kafka broker?" in str(error)


async def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is taken, and then nothing comes: each step has its end."""
    monkeypatch.setattr(kafka_diagnosis, "STEP_SECONDS_MAX", 0.2)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port:
        error = await diagnose(KafkaSettings(f"127.0.0.1:{port}"))
        assert isinstance(error, LogUnavailable)
        assert "then says nothing" in str(error)
        error = await diagnose(KafkaSettings(f"127.0.0.1:{port}", security=SecuritySettings("SSL")))
        assert isinstance(error, LogUnavailable)
        assert "TLS handshake" in str(error)


async def test_a_broker_that_the_cluster_names_is_out_of_reach() -> None:
    """The common trap of containers: the first address works, the advertised one does not."""
    port = free_port()
    async with serving(a_broker_that_names("127.0.0.1", port)) as first:
        error = await diagnose(KafkaSettings(f"127.0.0.1:{first}"))
    assert isinstance(error, LogUnavailable)
    assert f"the cluster names a broker 127.0.0.1:{port}, and no Kafka broker listens" in str(error)
    assert "advertised.listeners" in error.hint
    async with serving(a_broker_that_names("kafka-1.invalid", 9092)) as first:
        error = await diagnose(KafkaSettings(f"127.0.0.1:{first}"))
    assert "names a broker kafka-1.invalid:9092" in str(error)
    assert "is not known here" in str(error)


async def test_what_is_well_again_by_then_is_tried_again() -> None:
    """The failure was a moment ago: nothing is made up."""
    own: list[int] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await a_broker_that_names("127.0.0.1", own[0])(reader, writer)

    async with serving(served) as port:
        own.append(port)
        error = await diagnose(KafkaSettings(f"127.0.0.1:{port}"))
    assert isinstance(error, LogUnavailable)
    assert "now it is" in str(error)


async def test_a_broker_that_is_just_starting_wants_no_login() -> None:
    """What stands before it takes connections and drops them; the next one it answers itself.

    One step that failed and a later one that did not are no proof of a login that is missing.
    """
    broker, connections = a_broker_that_names("127.0.0.1", 9), 0

    async def starting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections > 3:  # the port, our greeting, a TLS handshake
            await broker(reader, writer)

    async with serving(starting) as port:
        error = await diagnose(KafkaSettings(f"127.0.0.1:{port}"))

    assert connections > 3
    assert isinstance(error, LogUnavailable)


async def test_what_never_mends_itself_comes_before_what_may() -> None:
    """One broker is down, another refuses us: the refusal is the news."""

    async def closing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(closing) as port:
        settings = KafkaSettings(
            f"127.0.0.1:{free_port()},127.0.0.1:{port}", security=SecuritySettings("SSL")
        )
        error = await diagnose(settings)
    assert isinstance(error, LogRefused)
    assert "ends the TLS handshake without saying why" in str(error)


def certificate(
    folder: Path, name: str, days: int = 2, key_words: tuple[str, ...] = ("-nodes",)
) -> tuple[Path, Path]:
    """A self-signed one for `localhost`, and its key."""
    key, made = folder / f"{name}.key", folder / f"{name}.crt"
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    openssl(folder, "req", *curve, *key_words, "-subj", f"/CN={name}", "-keyout", key.name,
            "-out", "asked.csr")  # fmt: skip
    openssl(folder, "x509", "-req", "-in", "asked.csr", "-signkey", key.name, "-passin", "pass:x",
            "-days", str(days), "-extfile", "names", "-out", made.name)  # fmt: skip
    return made, key


def openssl(folder: Path, *words: str) -> None:
    """Run it, or show what it says."""
    tools.needs("openssl")
    done = subprocess.run(
        ["openssl", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_a_certificate_that_is_over_is_not_valid(tmp_path: Path) -> None:
    """Signed by whom we trust, and expired: no authority helps against that."""
    made, key = certificate(tmp_path, "old", days=-1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent, context) as port:
        security = SecuritySettings("SSL", cafile=str(made))
        error = await diagnose(KafkaSettings(f"localhost:{port}", security=security))
    assert isinstance(error, LogRefused)
    assert "is not valid: certificate has expired" in str(error)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Not there, not PEM, or a key that is encrypted: said, not asked for on the terminal."""
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    for cafile, message in ((tmp_path / "none.pem", "cannot be read"), (text, "no certificate")):
        settings = KafkaSettings("a:1", security=SecuritySettings("SSL", cafile=str(cafile)))
        with pytest.raises(UsageError, match=f"{cafile.name} .*{message}"):
            settings.connection()
    made, key = certificate(tmp_path, "me", key_words=("-passout", "pass:x"))
    mutual = SecuritySettings("SSL", certfile=str(made), keyfile=str(key))
    with pytest.raises(UsageError, match=r"me\.key cannot be used") as caught:
        mutual.ssl_context()
    assert "not be encrypted" in caught.value.hint

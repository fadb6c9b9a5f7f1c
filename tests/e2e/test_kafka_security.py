"""Who may do what on a real broker with TLS, logins and ACLs; and what is said when it may not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import signal
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import psutil
import pytest

from producers.rows import bad_row_record
from schemas.errors import LogRefused, PypistreamError, TopicsMissing, UsageError
from schemas.records import Config
from schemas.topics import TOPICS, Offset, Topic, partition_count
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings, SecuritySettings
from streams.kafka_topics import ensure_topics, inspect_topics, mend_topics
from streams.log import Outgoing, TopicPartition
from streams.progress import read_progress
from tests.support import tools
from tests.support.documents_run import blocks
from tests.support.kafka_broker import image
from tests.support.process import Program, started
from tests.support.reading_world import run
from tests.support.standin import standin
from upstream.source import BadRow

if TYPE_CHECKING:
    from tests.support.kafka_secure import SecureKafka

PAGE = Path(__file__).parents[2] / "docs/kafka.md"
PARTITIONS = 2
PROJECTS = 60
ROLE_SECONDS_MAX = 90.0  # for five programs to start on a busy machine, and to agree
ROLES = ("sink", "produce", "process", "ask", "operator")  # as the page calls them
TOOLS_AT_ONCE = 2  # each is a Java program of its own
NOBODY = "nobody"  # may log in, and no more
MUTUAL = "mutual"  # comes with a certificate
SECRET = "correct-horse-battery"

# aiokafka closes a connection that TLS or the broker refuses without awaiting its end, and a test's
# loop may be closed before that: then the collector says so, in whatever test it runs.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected_here() -> Iterator[None]:
    """Such connections are collected in the test that left them, where it is known why."""
    yield
    gc.collect()


def commands() -> list[str]:
    """Every line of the page that grants something."""
    found = [block.text.splitlines() for block in blocks(PAGE) if block.language == "sh"]
    return [line for lines in found for line in lines if line.startswith("kafka-acls ")]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A broker with users; each role has the rights that the page gives it."""
    from tests.support.kafka_secure import (  # half a second, for these tests only
        SecureContainer,
        SecureKafka,
        make_certificates,
    )

    tools.needs("docker")
    tools.needs("openssl")
    folder = tmp_path_factory.mktemp("secure")
    make_certificates(folder, [MUTUAL])
    container = SecureContainer(image(), folder)
    container.with_name(f"pypistream-secure-{secrets.token_hex(4)}")
    try:
        container.start()
        broker = SecureKafka(container, folder)
        lines = commands()
        lines += [line.replace("User:sink ", f"User:{MUTUAL} ") for line in lines]
        with ThreadPoolExecutor(TOOLS_AT_ONCE) as pool:
            jobs = [pool.submit(broker.add_user, user) for user in (*ROLES, NOBODY)]
            jobs += [pool.submit(broker.grant, line) for line in dict.fromkeys(lines)]
            for job in jobs:
                job.result()
        asyncio.run(ensure_topics(broker.login("operator"), PARTITIONS, create=True))
        yield broker
    finally:
        container.stop()


def ask(topic: Topic) -> Outgoing:
    """A record that is refused: what is in it does not matter."""
    return Outgoing(topic, "a-project", b"{}")


async def refused(settings: KafkaSettings) -> PypistreamError:
    """What is said when the topics are looked at; nowhere in it, nor below it, a password."""
    with pytest.raises(PypistreamError) as caught:
        await inspect_topics(settings)
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    if settings.security.password:
        assert settings.security.password not in shown
    return caught.value


async def test_a_wrong_password_is_called_one(secure: SecureKafka) -> None:
    """Of a user that is there, and of one that is not: the broker tells nobody which."""
    for user in ("sink", "no-such-user"):
        error = await refused(secure.login(user, password=SECRET))
        assert isinstance(error, LogRefused)
        assert f"refuses the login of User:{user}" in str(error)
        assert "unknown user or wrong password" in str(error)


def test_a_command_says_why_and_ends(secure: SecureKafka, tmp_path: Path) -> None:
    """A user at a terminal: one line with the cause, one with what to do, exit 1, no traceback."""
    given = environment(secure.login("sink", password=SECRET))
    done = run("status", "--data", str(tmp_path), cwd=tmp_path, environment=given)
    assert done.returncode == 1
    said, following = done.stderr.splitlines()
    assert said.startswith("Error: ")
    assert "refuses the login of User:sink with SCRAM-SHA-512" in said
    assert following.startswith("Next:  ")
    assert SECRET not in done.stdout + done.stderr


async def test_an_authority_that_nobody_trusts_is_named(secure: SecureKafka) -> None:
    """One of our own that signed something else, and those of the system."""
    for cafile, named in ((str(secure.folder / "other.pem"), "other.pem"), ("", "the system's")):
        error = await refused(secure.login("sink", cafile=cafile))
        assert isinstance(error, LogRefused)
        assert "signed by an authority that is not among" in str(error)
        assert named in str(error)
        assert "--kafka-cafile" in error.hint


async def test_a_certificate_for_another_host_is_refused(secure: SecureKafka) -> None:
    """The same broker under a name that its certificate does not have."""
    good = secure.login("sink").security
    error = await refused(secure.at("SCRAM", good, host="127.0.0.1"))
    assert isinstance(error, LogRefused)
    assert "is not for '127.0.0.1'" in str(error)


async def test_a_client_certificate_is_asked_for(secure: SecureKafka) -> None:
    """None, and one that no authority of the broker's has signed."""
    error = await refused(secure.certificate(""))
    assert isinstance(error, LogRefused)
    assert "none is given" in str(error)
    assert "--kafka-certfile" in error.hint
    error = await refused(secure.certificate("stranger"))
    assert isinstance(error, LogRefused)
    assert "refuses our certificate" in str(error)
    assert "stranger.crt" in str(error)


@pytest.mark.parametrize(
    ("listener", "protocol", "said"),
    [
        ("SCRAM", "PLAINTEXT", "speaks TLS, and PLAINTEXT is set"),
        ("SCRAM", "SASL_PLAINTEXT", "speaks TLS, and SASL_PLAINTEXT is set"),
        ("SCRAM", "SSL", "answers no questions without a login, and SSL is set"),
        ("LOGIN", "PLAINTEXT", "answers no questions without a login, and PLAINTEXT is set"),
        ("LOGIN", "SASL_SSL", "does not speak TLS, and SASL_SSL is set"),
        ("LOGIN", "SSL", "does not speak TLS, and SSL is set"),
        ("MTLS", "PLAINTEXT", "speaks TLS, and PLAINTEXT is set"),
    ],
)
async def test_a_wrong_protocol_is_said_to_be_one(
    secure: SecureKafka, listener: str, protocol: str, said: str
) -> None:
    """What the port speaks, what is set, and the flag to change."""
    login = secure.login("sink").security
    given = {"protocol": protocol}
    if protocol.startswith("SASL"):
        given |= {"username": login.username, "password": login.password}
    if protocol.endswith("SSL"):
        given["cafile"] = login.cafile
    error = await refused(secure.at(listener, SecuritySettings(**given)))
    assert isinstance(error, UsageError)
    assert said in str(error)
    assert "--kafka-security" in error.hint


async def test_a_mechanism_that_is_not_offered_is_named(secure: SecureKafka) -> None:
    """The password is right, the way to say it is not."""
    error = await refused(secure.login("sink", mechanism="PLAIN"))
    assert isinstance(error, UsageError)
    assert "does not offer PLAIN" in str(error)


async def test_who_may_see_nothing_is_told_what_is_missing(secure: SecureKafka) -> None:
    """Logged in, no rights: user, right, topics, and the command that grants it."""
    error = await refused(secure.login(NOBODY))
    assert isinstance(error, LogRefused)
    assert "User:nobody lacks the right Describe on the topics pypi.changelog" in str(error)
    assert "--allow-principal User:nobody --operation Describe --topic pypi." in error.hint
    assert "docs/kafka.md" in error.hint


async def test_a_sink_reads_with_read_only_rights(secure: SecureKafka) -> None:
    """By password and by certificate: it opens the log, reads every topic, and can write nothing.

    It may not see the configs, so they are not checked.
    """
    for settings in (secure.login("sink"), secure.certificate(MUTUAL)):
        assert all(each.configs is None for each in (await inspect_topics(settings)).topics)
        log = await KafkaLog.open(settings)
        try:
            assert log.partitions == PARTITIONS
            everything = {
                TopicPartition(topic, partition): Offset(0)
                for topic in TOPICS
                for partition in range(partition_count(topic, PARTITIONS))
            }
            reader = await log.reader(everything)
            await reader.read(1, 0.5)
            await log.table(TopicPartition(Topic.STATE, 0))
            with pytest.raises(LogRefused, match="has the right Write on no topic"):
                await log.append([ask(Topic.REFETCH)])
            with pytest.raises(LogRefused, match=r"transactional id pypi\.produce"):
                await log.writer("produce")
        finally:
            await log.close()


async def test_produce_may_write_no_document(secure: SecureKafka) -> None:
    """Its own id and no worker's; the decisions' topics are not its own."""
    log = await KafkaLog.open(secure.login("produce"), create=False)
    try:
        for topic in (Topic.METADATA, Topic.RELEASES, Topic.STATE):
            writer = await log.writer("produce")
            with pytest.raises(LogRefused, match=rf"right Write on the topic pypi\.{topic}"):
                await writer.commit([ask(topic)])
        with pytest.raises(LogRefused, match=r"transactional id pypi\.worker-0"):
            await log.writer("worker-0")
    finally:
        await log.close()


async def test_produce_may_write_letters(secure: SecureKafka) -> None:
    """A journal row that cannot be an event becomes one, in the transaction of those beside it."""
    log = await KafkaLog.open(secure.login("produce"), create=False)
    try:
        writer = await log.writer("produce")
        await writer.commit([bad_row_record(BadRow("no name", 7, "[]"), now_ms=0)])
    finally:
        await log.close()


async def test_process_may_write_no_journal(secure: SecureKafka) -> None:
    """A worker's id for each partition; neither the id nor the topics of `produce`."""
    log = await KafkaLog.open(secure.login("process"), create=False)
    try:
        for number, topic in enumerate((Topic.CHANGELOG, Topic.REFETCH)):
            writer = await log.writer(f"worker-{number}")
            with pytest.raises(LogRefused, match=rf"right Write on the topic pypi\.{topic}"):
                await writer.commit([ask(topic)])
        with pytest.raises(LogRefused, match=r"transactional id pypi\.produce"):
            await log.writer("produce")
    finally:
        await log.close()


async def test_who_asks_disturbs_nobody(secure: SecureKafka) -> None:
    """Asks and requests are plain writes: no id can be taken with these rights."""
    log = await KafkaLog.open(secure.login("ask"), create=False)
    try:
        with pytest.raises(LogRefused, match="transactional id"):
            await log.writer("produce")
        with pytest.raises(LogRefused, match=r"topic pypi\.state"):
            await log.append([ask(Topic.STATE)])
    finally:
        await log.close()


async def test_an_operator_looks_after_the_topics_and_reads_none(secure: SecureKafka) -> None:
    """Creates, checks and mends; the records are none of its business."""
    operator = secure.login("operator")
    report = await mend_topics(operator)
    assert report.ok
    assert all(each.configs for each in report.topics)
    log = await KafkaLog.open(operator)
    try:
        reader = await log.reader({TopicPartition(Topic.STATE, 0): Offset(0)})
        with pytest.raises(LogRefused, match=r"right Read on the topic pypi\.state"):
            await reader.read(1, 5.0)
    finally:
        await log.close()


async def test_who_may_not_create_topics_is_told_so(secure: SecureKafka) -> None:
    """With a prefix of one's own, which nobody has granted anything for, and with no create."""
    other = secure.login("operator", prefix="other.")
    with pytest.raises(LogRefused, match=r"right Describe on the topics other\.changelog"):
        await ensure_topics(other, 1, create=True)
    secure.grant(
        "kafka-acls --bootstrap-server HOST:PORT --add --allow-principal User:ask"
        " --operation Read --topic other. --resource-pattern-type prefixed"
    )
    asking = secure.login("ask", prefix="other.")
    with pytest.raises(LogRefused, match=r"User:ask lacks the right Create on the topic other\."):
        await ensure_topics(asking, 1, create=True)
    with pytest.raises(TopicsMissing):
        await ensure_topics(asking, create=False)


def environment(settings: KafkaSettings) -> dict[str, str]:
    """What a role is told, all of it by its environment."""
    security = settings.security
    given = {
        "": settings.bootstrap,
        "_PREFIX": settings.prefix,
        "_SECURITY": security.protocol,
        "_USERNAME": security.username,
        "_PASSWORD": security.password,
        "_CAFILE": security.cafile,
        "_CERTFILE": security.certfile,
        "_KEYFILE": security.keyfile,
    }
    return {f"PYPISTREAM_KAFKA{name}": value for name, value in given.items() if value}


def founded(settings: KafkaSettings) -> bool:
    """Whether `produce` has written how this log is."""

    async def config() -> Config | None:
        log = await KafkaLog.open(settings, create=False)
        try:
            return (await read_progress(log)).config
        finally:
            await log.close()

    return asyncio.run(config()) is not None


def complete(view: Path) -> bool:
    """Whether it is there and claims a watermark: the backfill has been through."""
    if not view.exists():
        return False
    with duckdb.connect(str(view), read_only=True) as connection:
        (watermark,) = connection.execute("SELECT watermark FROM progress").fetchone() or (None,)
        return watermark is not None


def known(view: Path) -> set[str]:
    """Names that it shows, or names as exceptions."""
    with duckdb.connect(str(view), read_only=True) as connection:
        shown = "SELECT name FROM projects UNION SELECT name FROM exceptions"
        return {name for (name,) in connection.execute(shown).fetchall()}


def test_the_roles_run_with_the_pages_rights(secure: SecureKafka, tmp_path: Path) -> None:
    """Real programs, each as its own user: a journal, its documents, a file and a dump.

    The sinks may only read; one of them comes with a certificate. No password is left anywhere.
    """
    produce, process, asks, sink = (
        environment(secure.login(role)) for role in ("produce", "process", "ask", "sink")
    )
    mutual = environment(secure.certificate(MUTUAL))
    passwords = [secure.login(role).security.password for role in ROLES]
    with contextlib.ExitStack() as stack, standin(projects=PROJECTS) as site:

        def start(role: str, given: dict[str, str], *arguments: str) -> Program:
            cwd = tmp_path / role.replace(" ", "-")
            cwd.mkdir()
            words = (*role.split(), *arguments)
            return stack.enter_context(started(*words, cwd=cwd, environment=given))

        upstream = ("--upstream", site.url, "--contact", "t@site.test")
        programs = [
            start("produce", produce, *upstream, "--poll", "1"),
            start("process", process, *upstream, "--rate", "0", "--settle", "0"),
            start("sink duckdb", sink, "--data", "DIR", "--snapshot-every", "1"),
            start("sink dump", mutual, "--data", "DIR", "--dump-every", "1"),
        ]
        programs[0].until(lambda: founded(secure.login("sink")), ROLE_SECONDS_MAX, "new log")
        asking = start("backfill", asks, *upstream, "--yes")
        assert asking.process.wait(ROLE_SECONDS_MAX) == 0, asking.text()

        view = tmp_path / "sink-duckdb/DIR/pypi.duckdb"
        programs[2].until(lambda: complete(view), ROLE_SECONDS_MAX, "complete DuckDB file")
        assert known(view) >= set(site.served_names())
        dumped = tmp_path / "sink-dump/DIR/dumps"
        programs[3].until(lambda: [*dumped.glob("**/packages*")], ROLE_SECONDS_MAX, "dump")
        for program in programs:
            words = " ".join(psutil.Process(program.process.pid).cmdline())
            assert not any(password in words for password in passwords)
            assert program.stop(signal.SIGTERM) == 0, program.text()
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) > len(programs)
    for path in left:
        assert not any(password.encode() in path.read_bytes() for password in passwords), path

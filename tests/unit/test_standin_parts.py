"""The stand-in's parts alone: versions, routes, journal, store, connections, use in one process."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from upstream.standin.__main__ import command_line
from upstream.standin.app import Standin, build_app, parse
from upstream.standin.faults import BadFault
from upstream.standin.files import file_name
from upstream.standin.http_types import Request, Route
from upstream.standin.journal import Row
from upstream.standin.living import UnsuitableChange
from upstream.standin.pages import HTML_TYPE, JSON_TYPE, PLAIN_TYPE, preferred
from upstream.standin.seeds import generator
from upstream.standin.settings import StandinSettings
from upstream.standin.stats import ConnectionWatch, Stats
from upstream.standin.versions import latest_version, next_version, version_sequence
from upstream.standin.vocabulary import fresh_name, normalized, prose, respelled
from upstream.standin.world import EDITIONS_MAX

FILE, YANKED = {"yanked": False}, {"yanked": True}
NOW = 1_800_000_000.0


@pytest.fixture
def app() -> Iterator[Standin]:
    made = build_app(StandinSettings(projects=80, sizes="small"), clock=lambda: NOW)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("releases", "latest"),
    [
        ({"0.9.0": [FILE], "0.10.0": [FILE]}, "0.10.0"),
        ({"1.0": [FILE], "2.0rc1": [FILE]}, "1.0"),
        ({"1.0a1": [FILE], "1.0b1": [FILE]}, "1.0b1"),
        ({"1.0": [FILE], "2.0": [YANKED, YANKED]}, "1.0"),
        ({"1.0": [FILE], "2.0": [YANKED, FILE]}, "2.0"),
        ({"1.0": [YANKED], "2.0": [YANKED]}, "2.0"),
        ({"1.0rc1": [FILE], "1.0": [YANKED]}, "1.0rc1"),
        ({"nonsense": [FILE], "0.1.dev1": [FILE]}, "0.1.dev1"),
        ({"1.0": [FILE], "2.0": []}, "2.0"),
        ({".9": []}, ".9"),
    ],
)
def test_latest_version(releases: dict[str, list[dict[str, bool]]], latest: str) -> None:
    """Not yanked first, then final, then PEP 440 order; what is no version is last."""
    assert latest == latest_version(releases)


def test_next_version_is_above() -> None:
    """Also above epochs, prereleases and what is no version."""
    for version in ("1.2.3", "1!2.0", "1.0rc1", ".9", "2.0.post1", "v1"):
        higher = next_version(version)
        assert higher == latest_version({version: [FILE], higher: [FILE]})


def test_version_sequences_rise_without_repeating() -> None:
    """Whatever style the draw picks."""
    for seed in range(60):
        versions = version_sequence(generator("test", seed), 40)
        assert 40 == len(set(versions))
        assert versions[-1] == latest_version({v: [FILE] for v in versions})


def test_names_are_new_and_respelled_ones_equal() -> None:
    """Another spelling has the same normalised form, and is another spelling."""
    random_ = generator("test")
    taken: set[str] = set()
    for _ in range(500):
        name = fresh_name(random_, taken)
        assert normalized(name) not in taken
        taken.add(normalized(name))
        other = respelled(name, random_)
        assert other != name
        assert normalized(other) == normalized(name)


def test_prose_has_the_length_asked_for() -> None:
    """From nothing to megabytes."""
    for length in (0, 1, 100, 20_000, 1_000_000):
        assert length == len(prose(generator("test"), length))


def test_file_names_carry_no_blanks() -> None:
    """A version with blanks or newlines still makes one file name."""
    assert "a_b-1.0_dev_x.tar.gz" == file_name("a-b", "1.0-dev\nx", 0).filename


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (b"application/vnd.pypi.simple.v1+json", JSON_TYPE),
        (
            b"application/vnd.pypi.simple.v1+json, text/html; q=0.01",
            JSON_TYPE,
        ),
        (b"text/html;q=0.1, application/vnd.pypi.simple.v1+html", HTML_TYPE),
        (b"*/*", PLAIN_TYPE),
        (b"application/vnd.pypi.simple.latest+json", JSON_TYPE),
        (b"image/png", None),
    ],
)
def test_negotiation(accept: bytes, kind: bytes | None) -> None:
    """The form with the highest quality; pip's own header gets JSON."""
    assert kind == preferred(accept)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/pypi/A.b/json", ("json", "A.b", "a-b", "")),
        ("/pypi/a/1.0/json", ("version", "a", "a", "1.0")),
        ("/pypi", ("xmlrpc", "", "", "")),
        ("/pypi/", ("xmlrpc", "", "", "")),
        ("/simple/", ("simple", "", "", "")),
        ("/simple/A_b/", ("simple", "A_b", "a-b", "")),
        ("/files/a/a-1.whl", ("files", "a", "a", "")),
        ("/_control/faults/3", ("control", "", "", "")),
        ("/pypi//json", ("other", "", "", "")),
        ("/pypi/a/b/c/json", ("other", "", "", "")),
        ("/", ("other", "", "", "")),
    ],
)
def test_routes(path: str, expected: tuple[str, str, str, str]) -> None:
    """By path alone."""
    request = parse({"path": path, "method": "GET", "headers": [], "query_string": b"a=1"})

    assert expected == (request.route, request.project, request.name, request.version)
    assert {"a": "1"} == request.query


def test_the_journal_pages(app: Standin) -> None:
    """Old and new rows in one order; limits and `until` cut where they should."""
    journal = app.world.journal
    old = journal.since(0, None)
    for _ in range(5):
        app.world.write_row("a-name", None, "create")
    every = journal.since(0, None)

    assert old == every[:-5]
    assert every[-7:] == journal.since(every[-8].serial)
    assert every[-7:-4] == journal.since(every[-8].serial, 3)
    assert every[:10] == journal.since(0, 10)
    assert every[-7:-1] == journal.since(every[-8].serial, until=every[-2].serial)
    assert journal.has(every[-1].serial)
    assert not journal.has(every[-1].serial + 1)
    with pytest.raises(ValueError, match="is not above"):
        journal.append(Row("a", None, 0, "create", every[-1].serial), NOW)


def test_earlier_states_are_kept_and_bounded() -> None:
    """The state at any past moment is known; the earliest ones give way to the earliest kept."""
    now = [NOW]
    app = build_app(StandinSettings(projects=40, sizes="small"), clock=lambda: now[0])
    serials = {}
    for _ in range(EDITIONS_MAX + 20):
        now[0] += 1
        serials[now[0]] = app.living.change("docdestroy", "loopback-hello").serial
    project = app.world.projects["loopback-hello"]
    found = {
        moment: edition.serial
        for moment in serials
        if (edition := project.edition_at(moment + 0.5)) is not None
    }
    first = project.edition_at(NOW - 1)
    app.close()

    assert EDITIONS_MAX == len(project.editions)
    assert set(serials) == set(found)
    assert 20 >= sum(serials[moment] != serial for moment, serial in found.items())
    assert first is project.editions[0]


def test_bodies_come_back_as_they_were_stored(app: Standin) -> None:
    """From the growing file too."""
    store = app.world.store
    bodies = [prose(generator(n), n * 100).encode() for n in range(1, 30)]
    refs = [store.add(body) for body in bodies]

    assert bodies == [store.raw(ref) for ref in refs]
    assert bodies == [gzip.decompress(store.gz(ref)) for ref in refs]


def test_unsuitable_changes_raise(app: Standin) -> None:
    """In one process the reason is an exception."""
    with pytest.raises(UnsuitableChange, match="unknown kind"):
        app.living.change("nothing")
    with pytest.raises(UnsuitableChange, match="no project suits"):
        app.living.change("release-unquarantine")
    with pytest.raises(BadFault, match="unknown kind"):
        app.faults.add({"kind": "nothing"}, app.site)


def test_a_connection_counts_once() -> None:
    """Journal until it fetches a document; closing one that asked nothing changes nothing."""
    stats = Stats(10)
    watch, idle = ConnectionWatch(stats), ConnectionWatch(stats)
    seen = []
    asked: list[tuple[Route, str]] = [
        ("xmlrpc", ""), ("simple", ""), ("simple", "a"), ("xmlrpc", ""), ("files", "a"),
    ]  # fmt: skip
    for route, project in asked:
        watch.used(Request(route, "GET", "/", {}, {}, project))
        seen.append((stats.connections["document"].now, stats.connections["journal"].now))
    idle.used(Request("control", "GET", "/", {}, {}))
    idle.lost()
    watch.lost()
    watch.lost()

    assert [(0, 1), (0, 1), (1, 0), (1, 0), (1, 0)] == seen
    assert [0, 0, 0] == [gauge.now for gauge in stats.connections.values()]


def test_early_requests_by_class() -> None:
    """Told to wait on a document route, the journal may still be asked."""
    stats = Stats(10)
    stats.told_to_wait(Request("json", "GET", "/", {}, {}), 60.0)
    stats.begin(Request("xmlrpc", "POST", "/pypi", {}, {}))
    stats.begin(Request("version", "GET", "/", {}, {}))

    assert {"version": 1} == dict(stats.early_strict)
    assert 0 == stats.shown()["early_total"]  # it may have been on its way


def test_in_one_process(app: Standin) -> None:
    """No socket needed; a fault of the wire is then a lost connection."""

    async def ask(path: str) -> tuple[int, bytes]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
        await app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    status, body = asyncio.run(ask("/pypi/loopback-hello/json"))
    app.faults.add({"kind": "reset"}, app.site)
    with pytest.raises(ConnectionResetError):
        asyncio.run(ask("/pypi/loopback-hello/json"))
    with pytest.raises(RuntimeError, match="lifespan"):
        asyncio.run(app({"type": "lifespan"}, None, None))  # type: ignore[arg-type]  # not reached

    assert (200, "loopback-hello") == (status, json.loads(body)["info"]["name"])


def test_the_command_line(tmp_path: Any) -> None:
    """Every setting has an option; what is not understood is exit code 2."""
    path = tmp_path / "faults.json"
    path.write_text('[{"kind": "503"}]')
    found = command_line(
        "--port 7 --projects 9 --seed 3 --changes-per-second 2.5 --latency-ms 40 --sizes small "
        f"--index-lag-seconds 5 --faults {path} --cache {tmp_path} --attached".split()
    )

    assert (
        StandinSettings(
            projects=9,
            seed=3,
            changes_per_second=2.5,
            port=7,
            latency_ms=40.0,
            sizes="small",
            cache=tmp_path,
            faults=({"kind": "503"},),
            index_lag_seconds=5.0,
        )
        == found.settings
    )
    assert found.attached
    with pytest.raises(SystemExit, match="2"):
        command_line(["--sizes", "huge"])

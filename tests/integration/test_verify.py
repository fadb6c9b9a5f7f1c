"""`pypistream verify`: what is the same everywhere, and each kind of difference by its name."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypistream.children.publishing import rebuild
from schemas import codec
from schemas.records import Reason, State, Status
from schemas.topics import Topic
from tests.support.process import command, status
from tests.support.published import decompressed, query, read_dump
from tests.support.reading_world import state
from tests.support.standin import Running, standin
from tests.support.verify_world import (
    World,
    found,
    in_dump,
    in_snapshot,
    make,
    outgoing,
)

PROJECTS = 40
PACKAGES = "packages.jsonl.zst"


@pytest.fixture(scope="module")
def site() -> Iterator[Running]:
    """Upstream; nothing changes but what a test changes."""
    with standin(projects=PROJECTS, changes_per_second=0) as running:
        yield running


@pytest.fixture(scope="module", params=[1, 3])
def made(
    request: pytest.FixtureRequest, site: Running, tmp_path_factory: pytest.TempPathFactory
) -> World:
    """One project is given up: its document cannot be read."""
    dead = site.served_names()[0]
    site.fault("bad-json", project=dead, route="json")
    world = asyncio.run(make(site, tmp_path_factory.mktemp("verify") / "data", request.param))
    site.heal()
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A copy to be spoilt."""
    return made.copied(tmp_path / "data")


def dead_name(world: World) -> str:
    """The one that is given up."""
    return world.site.served_names()[0]


def a_name(world: World, number: int = 0) -> str:
    """A project that is published; each number another."""
    return sorted(read_dump(world.data).packages)[number]


async def test_all_agree_but_what_the_truth_names(world: World) -> None:
    """Every name of the index is held, known to have no document, or dead for all to see."""
    report = await world.verify()
    served = set(world.site.served_names())
    listed = world.site.ask("/simple/", accept="application/vnd.pypi.simple.v1+json").json()
    dump = read_dump(world.data)

    assert report.sound
    assert found(report) == {(dead_name(world), "state", "dead")}
    assert (report.exceptions, report.differences) == ({"dead": 1}, {})
    assert report.names == len(listed["projects"])
    assert report.documents == len(served) - 1 == len(dump.packages)
    assert report.absent == report.names - len(served) > 0
    assert report.coverage == int(1e6 * (report.names - 1) / report.names) / 1e4
    assert (report.duckdb.agrees, report.dump.agrees) == (True, True)
    assert report.watermark == report.duckdb.watermark == report.dump.watermark
    assert report.watermark == world.site.control("serial")["serial"]
    offline = await world.verify(upstream=False)
    assert (offline.sound, offline.index, offline.names) == (True, None, report.names)


async def test_every_table_of_the_duckdb_file_is_compared(world: World) -> None:
    """A row that is gone, changed, or too many is named; the sink is to be made anew."""
    one, two, three, four = (a_name(world, n) for n in range(4))
    in_snapshot(
        world.data,
        f"DELETE FROM base.project WHERE name = '{one}'",
        f"UPDATE base.project SET summary = 'another' WHERE name = '{two}'",
        f"UPDATE base.releases_of SET version = '9' WHERE name = '{three}'",
        f"DELETE FROM base.state WHERE name = '{four}'",
        "INSERT INTO base.project BY NAME (SELECT 'nobody' AS name, 'Nobody' AS display_name)",
    )
    report = await world.verify()

    assert not report.sound
    assert found(report) - {(dead_name(world), "state", "dead")} == {
        (one, "duckdb", "missing"),
        (two, "duckdb", "other-content"),
        (three, "duckdb", "other-content"),
        (four, "duckdb", "missing"),
        ("nobody", "duckdb", "surplus"),
    }
    assert (report.duckdb.agrees, report.dump.agrees) == (False, True)
    assert report.rebuild == ["duckdb"]
    assert (await world.verify(repair=True)).repair is not None
    assert set(await world.asks()) == {dead_name(world)}  # not for what the log itself has


def test_a_sink_made_anew_agrees_again(world: World) -> None:
    """The command says what to do, and that is all it takes."""
    in_snapshot(world.data, "DELETE FROM base.releases_of")
    flags = ("verify", "--data", str(world.data), "--upstream", world.site.url)
    before = command(*flags, cwd=world.data.parent)
    assert rebuild({"data": world.data, "partitions": world.where.partitions}, "duckdb") == 0
    after = command(*flags, "--json", cwd=world.data.parent)

    assert before.returncode == 1, before.stderr
    assert "Next:  pypistream rebuild duckdb" in before.stdout
    assert f"  {dead_name(world)}: dead (state: undecodable" in before.stdout
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)["exceptions"] == {"dead": 1}


async def test_an_altered_line_of_the_dump_is_named(world: World) -> None:
    """Also where the manifest was made to fit it."""
    name, gone = a_name(world), a_name(world, 1)

    def altered(lines: list[bytes]) -> list[bytes]:
        kept = [line for line in lines if f'"name":"{gone}"'.encode() not in line[:200]]
        return [
            line.replace(b'"info":{', b'"info":{"odd":1,')
            if line.startswith(f'{{"name":"{name}"'.encode())
            else line
            for line in kept
        ]

    in_dump(world.data, PACKAGES, altered, told=True)
    in_dump(world.data, "state.jsonl.zst", lambda lines: lines[:-1], told=True)
    report = await world.verify()

    expected = {(name, "dump", "other-content"), (gone, "dump", "missing")}
    assert expected <= found(report)
    assert report.dump.agrees is False
    assert report.rebuild == ["dump"]
    assert report.differences["missing"] == 2  # one line of state, too


async def test_a_damaged_dump_is_no_side_to_compare(world: World) -> None:
    """What the manifest does not describe is not looked into any further."""
    in_dump(world.data, PACKAGES, lambda lines: lines[:-1], told=False)
    report = await world.verify()

    assert "is not the file its manifest describes" in report.dump.problem
    assert (report.sound, report.dump.agrees, report.duckdb.agrees) == (False, False, True)
    assert report.rebuild == ["dump"]


async def test_a_drop_in_of_other_documents_is_found(world: World) -> None:
    """It is held against packages, document by document."""
    name = a_name(world)

    def altered(lines: list[bytes]) -> list[bytes]:
        return [lines[0], lines[1].replace(b'"info":{', b'"info":{"odd":1,'), *lines[2:]]

    in_dump(world.data, "pypicache.json.zst", altered, told=False)
    # An array's rows are its documents, not its lines.
    manifest = world.data / "dumps/manifest.json"
    _tell(manifest, "pypicache.json.zst")
    report = await world.verify()

    assert (name, "dump", "other-content") in found(report), report.dump


def _tell(manifest: Path, file: str) -> None:
    """Make the manifest fit a file but for its rows."""
    told = json.loads(manifest.read_bytes())
    folder = manifest.parent / ".versions" / told["version"]
    raw = (folder / file).read_bytes()
    told["files"][file] |= {
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "uncompressed_bytes": len(decompressed(raw)),
    }
    for place in (folder, manifest.parent):
        (place / "manifest.json").unlink()
        (place / "manifest.json").write_text(json.dumps(told))


async def test_sinks_that_are_behind_are_held_to_their_own_cut(world: World) -> None:
    """What is newer in the log is counted, and no difference; no sink at all is none either."""
    name = a_name(world)
    both = [(await world.newest(topic))[name] for topic in (Topic.METADATA, Topic.RELEASES)]
    await world.plant(*(outgoing(record, record.value) for record in both))
    report = await world.verify(upstream=False)
    (world.data / "pypi.duckdb").unlink()
    shutil.rmtree(world.data / "dumps")
    without = await world.verify(upstream=False)

    assert (report.sound, report.duckdb.newer, report.dump.newer) == (True, 1, 1)
    assert (without.sound, without.duckdb.agrees, without.dump.agrees) == (True, None, None)


async def test_sinks_of_another_log_are_not_taken_for_this_one(
    world: World, made: World, tmp_path: Path
) -> None:
    """Whatever they hold, they say nothing about it."""
    other = await make(made.site, tmp_path / "other", 1)
    shutil.copy(other.data / "pypi.duckdb", world.data / "pypi.duckdb")
    report = await world.verify(upstream=False)

    assert "made from another log" in report.duckdb.problem
    assert (report.sound, report.rebuild) == (False, ["duckdb"])


async def test_what_the_log_has_otherwise_is_repaired(world: World) -> None:
    """Each fault is named, asked for, and gone after the next run; nothing else is asked for."""
    removed, altered, mixed, forgotten, bare = (a_name(world, n) for n in range(5))
    metadata = await world.newest(Topic.METADATA)
    releases = await world.newest(Topic.RELEASES)
    states = await world.newest(Topic.STATE)
    raw = metadata[altered].value
    assert raw is not None
    slim = releases[mixed].value
    assert slim is not None
    await world.plant(
        outgoing(metadata[removed], None),
        outgoing(metadata[altered], raw.replace(b'"info":{', b'"info":{"odd":1,')),
        outgoing(releases[altered], releases[altered].value),
        outgoing(releases[mixed], slim.replace(b'"releases":{', b'"releases":{"0.0.0":[],')),
        outgoing(states[forgotten], None),
        outgoing(releases[bare], None),
        outgoing(metadata[removed], metadata[removed].value)._replace(key="ghost"),
    )
    report = await world.verify(repair=True)

    assert found(report) - {(dead_name(world), "state", "dead")} == {
        (removed, "metadata", "missing"),
        (altered, "metadata", "other-content"),
        (mixed, "releases", "other-content"),
        (forgotten, "state", "missing"),
        (forgotten, "metadata", "surplus"),
        (forgotten, "releases", "surplus"),
        ("ghost", "metadata", "surplus"),
        (bare, "releases", "missing"),
    }
    assert not report.sound
    asks = await world.asks()
    assert set(asks) == {removed, altered, mixed, forgotten, bare, "ghost", dead_name(world)}
    assert {ask.reason for ask in asks.values()} == {Reason.REPAIR}
    assert {name for name, ask in asks.items() if not ask.whole} == {dead_name(world)}
    assert report.repair is not None
    assert (report.repair.asked, report.repair.left) == (7, 0)

    await world.work()
    await world.publish()
    after = await world.verify(repair=True)
    assert (after.sound, found(after), await world.asks()) == (True, set(), {})
    assert after.coverage == 100.0


async def test_a_name_is_stale_where_state_says_so(world: World) -> None:
    """Named by the watermark, and no difference."""
    name = a_name(world)
    [row] = [row for key, row in (await world.newest(Topic.STATE)).items() if key == name]
    assert row.value is not None
    known = codec.decode(row.value, State)
    for given, why in ((Status.STALE, "stale"), (Status.PARKED, "parked")):
        owed = replace(known, status=given, event=known.event + 1, attempts=3, reason="stale")
        await world.plant(state(name, owed, 1_800_000_000))
        report = await world.verify()
        assert (report.sound, (name, "state", why) in found(report)) == (True, True)
        assert f"attempt {owed.attempts}" in next(n.text for n in report.named if n.name == name)


async def test_what_is_ahead_upstream_is_named_and_repaired(tmp_path: Path) -> None:
    """A new release, a new project and a removed one: no claim speaks of them yet."""
    with standin(projects=20, changes_per_second=0) as site:
        world = await make(site, tmp_path / "data", 1)
        first, second = site.served_names()[:2]
        site.change("release", first)
        created = site.change("create")["project"]
        site.change("remove-project", second)
        report = await world.verify(repair=True)
        expected = {(name, "upstream", "upstream-ahead") for name in (first, created, second)}
        assert (found(report), report.sound) == (expected, True)
        assert report.coverage is not None
        assert report.coverage < 100
        asks = await world.asks()
        assert {name: ask.gone for name, ask in asks.items()} == {
            first: False, created: False, second: True,
        }  # fmt: skip
        await world.work()
        await world.publish()
        after = await world.verify()
        assert (after.sound, found(after), after.coverage) == (True, set(), 100.0)
        assert created in read_dump(world.data).packages
        assert second not in read_dump(world.data).packages


async def test_what_the_watermark_claims_and_the_log_lacks_is_a_difference(world: World) -> None:
    """An index that has a newer serial than ours, though our marker lies behind it."""
    one, two = a_name(world), a_name(world, 1)
    states = await world.newest(Topic.STATE)
    raw = states[one].value
    assert raw is not None
    known = codec.decode(raw, State)
    older = replace(known, event=known.event - 1, body=known.body - 1)
    await world.plant(state(one, older, 1_800_000_000))
    site = world.site
    site.fault("index-lacks", names_share=1.0)
    lacking = await world.verify()
    site.heal()
    report = await world.verify()

    assert (one, "state", "behind") in found(report)
    assert not report.sound
    assert {(two, "state", "surplus")} <= found(lacking)
    assert not lacking.sound


def test_without_upstream_or_log_it_says_so(world: World, tmp_path: Path) -> None:
    """An index that does not come ends the command; --no-upstream asks nobody."""
    flags = ("verify", "--data", str(world.data), "--upstream", "http://127.0.0.1:9")
    away = command(*flags, cwd=tmp_path)
    offline = command(*flags, "--no-upstream", cwd=tmp_path)
    nowhere = command("verify", "--data", "none", "--no-upstream", cwd=tmp_path)

    assert (away.returncode, "--no-upstream" in away.stderr) == (1, True), away.stderr
    assert (offline.returncode, "coverage 97" in offline.stdout) == (0, True), offline.stdout
    assert (nowhere.returncode, "Next:" in nowhere.stderr) == (2, True)


async def test_the_same_figures_stand_in_every_output(world: World) -> None:
    """Coverage and exceptions: manifest, status, DuckDB file, and what was compared."""
    report = await world.verify(upstream=False)
    told = await asyncio.to_thread(status, world.data)
    manifest = read_dump(world.data).manifest
    [(coverage, exceptions)] = query(
        world.data / "pypi.duckdb", "SELECT coverage, exceptions FROM progress"
    )

    assert report.coverage == told["coverage"] == manifest["coverage"] == coverage
    assert 90 < coverage < 100
    assert report.exceptions == told["excepted"] == manifest["exceptions"]["counts"] == {"dead": 1}
    assert (exceptions, manifest["names"]) == (1, report.names)
    assert f"coverage       {coverage:g} %, exceptions: 1 dead" in _page(world)


def _page(world: World) -> str:
    """What `status` shows."""
    return command("status", "--data", str(world.data), cwd=world.data.parent).stdout

"""Which dumps stay, under which names, and that what was to be forgotten goes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import rfc3339
from schemas.errors import StorageFailed
from schemas.manifest import Exceptions, Manifest, hashed_name, places
from schemas.records import BackfillProgress, Cut
from schemas.topics import Topic
from sinks.dump.forgetting import WORD_FILE, forget_behind, must_go, word_of
from sinks.dump.full_folder import DAY_MS, HOUR_MS, retained
from sinks.dump.keep import Keep
from sinks.dump.sink import DumpSink
from sinks.dump.table_set import FIRST_SECONDS, Period
from sinks.sink import Vector
from tests.support import deltas
from tests.support.dump_world import NOW_MS, World, document, project, removed

MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS
KEEP = Keep()


def made(minute: int) -> Manifest:
    """A dump of so many minutes after midnight."""
    created = rfc3339((MIDNIGHT_MS + minute * 60_000) / 1000)
    return Manifest(created, "log", (), None, Exceptions({}), {}, version=str(minute))


def minutes(kept: tuple[Manifest, ...]) -> list[int]:
    return [int(each.version) for each in kept]


def test_the_first_of_each_hour_and_of_each_day_stays() -> None:
    """One every ten minutes for three weeks: two days of hours, two weeks of days, the last two."""
    kept: tuple[Manifest, ...] = ()
    last = 21 * 24 * 60
    for minute in range(0, last + 1, 10):
        kept = retained((*kept, made(minute)), MIDNIGHT_MS + minute * 60_000, KEEP)

    hours = [last - hour * 60 for hour in range(49)]
    days = [last - day * 24 * 60 for day in range(15)]
    assert sorted({*hours, *days, last - 10, last}) == minutes(kept)


def test_none_but_the_last_two_where_none_are_wanted() -> None:
    dumps = tuple(made(minute) for minute in range(0, 300, 10))
    now_ms = MIDNIGHT_MS + 300 * 60_000

    assert [280, 290] == minutes(retained(dumps, now_ms, Keep(hourly=0, daily=0)))
    assert [0, 280, 290] == minutes(retained(dumps, now_ms, Keep(hourly=0)))
    assert [0, 60, 120, 180, 240, 280, 290] == minutes(retained(dumps, now_ms, Keep(daily=0)))


@given(
    st.lists(st.integers(0, 40 * 24 * 60), max_size=40, unique=True),
    st.integers(0, 4 * 24) | st.just(0),
    st.integers(0, 30),
)
def test_what_is_kept_is_asked_for(at: list[int], hours: int, days: int) -> None:
    """Whoever looks twice, or looks more often, keeps the same; nothing is kept for nothing."""
    dumps = tuple(made(minute) for minute in sorted(at))
    keep = Keep(hourly=hours * 3_600.0, daily=days * 86_400.0)
    now_ms = MIDNIGHT_MS + 40 * DAY_MS
    kept = retained(dumps, now_ms, keep)

    assert kept == retained(kept, now_ms, keep)
    assert kept[-2:] == dumps[-2:]
    young = {m for m in at if now_ms - MIDNIGHT_MS - m * 60_000 <= keep.hourly * 1000}
    hourly = {hour: min(m for m in at if m // 60 == hour) for hour in {m // 60 for m in at}}
    assert young & set(hourly.values()) <= set(minutes(kept))
    assert len(kept) <= 2 + hours + 1 + days + 1


def full_of(world: World) -> list[dict[str, Any]]:
    held = json.loads((world.dumps / "full" / "manifest.json").read_bytes())
    dumps: list[dict[str, Any]] = held["dumps"]
    return dumps


def present(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"manifest.json"}


def publish(world: World, salt: str, now_ms: int) -> None:
    world.apply([(Topic.METADATA, "x", document("x", salt))])
    world.publish(now_ms)


def test_each_kept_dump_has_its_files_by_their_hash(tmp_path: Path) -> None:
    """Links to what was published; a file that did not change is there once; the list names all."""
    world = World(tmp_path)
    world.apply([change for i in range(20) for change in project(f"p{i}")])
    for hour, salt in enumerate("abcde"):
        publish(world, salt, MIDNIGHT_MS + hour * HOUR_MS)
        publish(world, salt * 2, MIDNIGHT_MS + hour * HOUR_MS + 600_000)
    folder = world.dumps / "full"
    dumps = full_of(world)

    assert 5 + 1 == len(dumps)
    named = {file["file"]: file for dump in dumps for file in dump["files"].values()}
    assert named.keys() == present(folder)
    for name, file in named.items():
        assert file["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert file["sha256"][:16] in name
    assert 1 == len({dump["files"]["releases.jsonl.zst"]["file"] for dump in dumps})
    assert 6 == len({dump["files"]["packages.jsonl.zst"]["file"] for dump in dumps})
    newest = json.loads((world.dumps / "manifest.json").read_bytes())
    assert newest["files"] == dumps[-1]["files"]
    name = "packages.jsonl.zst"
    assert (world.dumps / name).samefile(folder / newest["files"][name]["file"])

    publish(world, "z", MIDNIGHT_MS + 30 * DAY_MS)
    assert 2 == len(full_of(world))
    assert present(folder) == {
        file["file"] for dump in full_of(world) for file in dump["files"].values()
    }


def test_a_lost_or_damaged_list_begins_anew(tmp_path: Path) -> None:
    """What it named and nobody names any more goes; the dump is published all the same."""
    world = World(tmp_path)
    folder = world.dumps / "full"
    for step, damage in enumerate((b"", b"{", b'{"created":"","dumps":[],"format":99}')):
        publish(world, f"{step}a", MIDNIGHT_MS + step * HOUR_MS)
        (folder / "manifest.json").write_bytes(damage)
        publish(world, f"{step}b", MIDNIGHT_MS + step * HOUR_MS + 1000)

        assert 1 == len(full_of(world))
        assert len(full_of(world)[0]["files"]) == len(present(folder))


def test_names_hold_the_hash_before_their_kind() -> None:
    sha256 = "0123456789abcdef" * 4

    assert "packages-0123456789abcdef.jsonl.zst" == hashed_name("packages.jsonl.zst", sha256)
    assert "pypi-0123456789abcdef.duckdb" == hashed_name("pypi.duckdb", sha256)
    assert "odd-0123456789abcdef" == hashed_name("odd", sha256)


def test_what_lies_behind_a_mark_goes_with_the_next_dump(tmp_path: Path) -> None:
    """Older dumps, their versions and all deltas from before; what reaches the mark stays."""
    world = World(tmp_path)
    world.apply(project("secret", "somebody@example.org", 400))
    for hour in range(4):
        publish(world, f"{hour}", MIDNIGHT_MS + hour * HOUR_MS)
    assert 4 == len(full_of(world))
    assert 3 == len(deltas.manifest_of(world.dumps)["deltas"])

    world.apply(removed("secret"))
    forget_behind(world.dumps, "log-1", places((world.cut(),)))
    world.publish(MIDNIGHT_MS + 4 * HOUR_MS)
    held = deltas.manifest_of(world.dumps)["deltas"]
    cut = [0, 0, world.offset, world.offset, world.offset]
    assert [[cut]] == [each["to"] for each in held]
    assert 1 == len(full_of(world))
    assert 1 == len([p for p in (world.dumps / ".versions").iterdir() if p.name.isdigit()])
    assert {each["file"] for each in held} == present(world.dumps / "deltas")
    assert present(world.dumps / "full") == {f["file"] for f in full_of(world)[0]["files"].values()}
    kept = [path for path in world.frames.iterdir() if path.suffix == ".delta"]
    assert 1 == len(kept)

    publish(world, "later", MIDNIGHT_MS + 5 * HOUR_MS)
    assert 2 == len(full_of(world))
    assert 2 == len(deltas.manifest_of(world.dumps)["deltas"])


def test_a_mark_that_the_dump_has_not_reached_waits(tmp_path: Path) -> None:
    """The newest dump stays for its readers until one is made that reaches the mark."""
    world = World(tmp_path)
    publish(world, "a", MIDNIGHT_MS)
    ahead = places((Cut(0, 0, world.offset + 9, world.offset + 9, world.offset + 9),))
    forget_behind(world.dumps, "log-1", ahead)
    publish(world, "b", MIDNIGHT_MS + HOUR_MS)
    assert 1 == len(full_of(world))

    world.apply([(Topic.METADATA, f"n{i}", document("x")) for i in range(9)])
    world.publish(MIDNIGHT_MS + 2 * HOUR_MS)
    assert 1 == len(full_of(world))
    publish(world, "c", MIDNIGHT_MS + 3 * HOUR_MS)
    assert 2 == len(full_of(world))


def test_a_damaged_mark_is_no_mark_to_be_passed_over(tmp_path: Path) -> None:
    """Rather no new dump than one beside what was to go."""
    world = World(tmp_path)
    publish(world, "a", MIDNIGHT_MS)
    assert word_of(world.dumps) is None
    (world.dumps / WORD_FILE).write_bytes(b"{")
    with pytest.raises(StorageFailed) as refused:
        publish(world, "b", MIDNIGHT_MS)
    assert "redact" in str(refused.value.hint)


def test_dumps_of_another_log_lie_behind_every_mark(tmp_path: Path) -> None:
    forget_behind(tmp_path, "b", ((0, 0, 5, 5, 5),))
    mark = word_of(tmp_path)

    assert must_go(mark, "a", ((0, 0, 9, 9, 9),))
    assert must_go(mark, "b", ((9, 9, 9, 9, 4),))
    assert must_go(mark, "b", (None,))
    assert not must_go(mark, "b", ((0, 0, 5, 5, 5),))
    assert not must_go(None, "b", (None,))


def test_when_tables_are_due() -> None:
    """Not while a backfill runs, nor just after the start; then in their period."""
    period = Period(every_ms=HOUR_MS, started_ms=MIDNIGHT_MS)
    first_ms = MIDNIGHT_MS + int(FIRST_SECONDS * 1000)
    whole = Vector("log", (Cut(1, 1, 1, 1, 1, serial=5),))
    loading = Vector(
        "log", (Cut(1, 1, 1, 1, 1, base=3, serial=5, backfill=BackfillProgress("r", 9, 1)),)
    )

    assert not period.due(None, whole, first_ms - 1)
    assert period.due(None, whole, first_ms)
    assert not period.due(None, loading, first_ms + 9 * HOUR_MS)
    assert Period(1_000, MIDNIGHT_MS).due(None, whole, MIDNIGHT_MS + 1_000)


def test_plain_names_of_files_that_are_no_more_go(tmp_path: Path) -> None:
    """A version without a file that the one before had takes its plain name away."""
    world = World(tmp_path)
    publish(world, "a", MIDNIGHT_MS)
    extra = world.dumps / "extra.parquet"
    for version in (world.dumps / ".versions").iterdir():
        (version / extra.name).write_bytes(b"x")
    extra.write_bytes(b"x")
    (world.dumps / "README").write_text("the operator's own")
    publish(world, "b", MIDNIGHT_MS)

    assert not extra.exists()
    assert (world.dumps / "README").exists()


def test_a_store_without_the_newest_output_gets_it(tmp_path: Path) -> None:
    """What an older version kept has no latest.csv.zst: it is made of the lines that are there."""
    world = World(tmp_path)
    world.apply([change for i in range(50) for change in project(f"p{i}")])
    world.publish()
    whole = (world.dumps / "latest.csv.zst").read_bytes()
    store = world.sink
    assert isinstance(store, DumpSink)
    frames = store._opened()
    index = frames._current
    index.tables["metadata"] = index.tables["metadata"].__class__(
        index.tables["metadata"].base[:2], index.tables["metadata"].runs
    )
    world.publish()

    assert whole == (world.dumps / "latest.csv.zst").read_bytes()

"""The serving view fed from a log: what is served moves from cut to cut, whatever befalls it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from schemas.names import NormalizedName
from sinks.feed import Feed
from sinks.serving.reader import ServingLibrary
from sinks.serving.view import ServingView
from streams.log import Log
from streams.memory_log import MemoryLog
from tests.support.feed_world import Clock, feeding, found, founded, until, work
from tests.support.view_records import document, entry, gone, metadata, releases, slim, state

FOO, BAR = NormalizedName("foo"), NormalizedName("bar")


class Served:
    """A view with its library on one log."""

    def __init__(self, log: Log, folder: Path) -> None:
        self.log = log
        self.view = ServingView(folder)
        self.library = ServingLibrary(folder, self.view.suspect)

    def feeding(self) -> AbstractAsyncContextManager[Feed]:
        """As `pypistream.children.serving` does it."""
        renew = self.library.renew
        return feeding(self.log, self.view, Clock(), 0, on_published=lambda _: renew())


async def test_it_serves_cut_after_cut(tmp_path: Path) -> None:
    """Documents, then a tombstone; partitions move apart from each other."""
    served = Served(await founded(MemoryLog(4)), tmp_path)
    async with served.feeding():
        await work(served.log, 0, [metadata("foo", document("foo")), state("foo"), entry("foo", 3)])
        await until(lambda: served.library.document(FOO))
        await work(served.log, 3, [metadata("bar", document("bar"))])
        await until(lambda: served.library.document(BAR))

        assert served.library.document(FOO)

        await work(served.log, 0, [gone("foo")])
        await until(lambda: not served.library.document(FOO))

        assert ["bar"] == [line.name for line in served.library.projects()]


async def test_another_log_is_served_in_place_of_the_old_one(tmp_path: Path) -> None:
    """The file is built anew; until its first cut the old answers hold."""
    first = Served(await founded(MemoryLog()), tmp_path)
    async with first.feeding():
        await work(first.log, 0, [metadata("foo", document("foo"))])
        await until(lambda: first.library.document(FOO))
    first.library.close()

    log = MemoryLog()
    await found(log, "log-2")
    second = Served(log, tmp_path)
    second.library.renew()

    assert second.library.document(FOO)

    async with second.feeding() as feed:
        await work(log, 0, [metadata("bar", document("bar"))])
        await until(lambda: second.library.document(BAR))

        assert second.library.document(FOO) is None
        assert 1 == feed.counters.resets
    second.library.close()


async def test_damage_that_a_reader_finds_is_mended_from_the_log(tmp_path: Path) -> None:
    """With the next change; meanwhile what can be read is served."""
    served = Served(await founded(MemoryLog()), tmp_path)
    async with served.feeding() as feed:
        slimmed = releases("foo", slim("foo", {"1.0": []}, "1.0"))
        await work(served.log, 0, [metadata("foo", document("foo")), slimmed])
        await until(lambda: served.library.document(FOO))
        served.view.suspect("a reader has seen damage")

        assert served.library.document(FOO)

        await work(served.log, 0, [metadata("bar", document("bar"))])
        await until(lambda: served.library.document(BAR))

        assert 1 == feed.counters.resets
        held = served.library.releases(FOO)
        assert held is not None
        assert ["1.0"] == list(held.slim.releases)
        assert (tmp_path / "serving.sqlite.damaged").exists()
    served.library.close()

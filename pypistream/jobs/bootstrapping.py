"""`pypistream bootstrap`: load another instance's dump into this log, then its deltas."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import click
import structlog

from producers.bootstrap import Loader
from producers.loaded import Origin
from producers.presence import other_holder
from pypistream.children.sinks_child import SinksChild
from pypistream.data_dir import DataDir
from pypistream.jobs.bootstrap_source import FILES, Source, open_source
from pypistream.jobs.carrying import carried_with, claim_of, next_steps, summary, told_of
from pypistream.logs import log_to_stderr, say
from pypistream.memory import collecting_seldom
from pypistream.place import located
from pypistream.restarts import ended, first_of, restarting
from pypistream.run import whoami
from pypistream.settings import Settings
from pypistream.stopping import run_until_stopped
from pypistream.wiring import open_log
from schemas.errors import (
    DeltasMissing,
    DumpCorrupt,
    LogFull,
    LogMismatch,
    Retriable,
    WriterFenced,
)
from schemas.manifest import Delta, DeltaManifest, Manifest, places
from schemas.records import Filter, Places
from schemas.topics import Topic
from sinks.dump.delta_reader import behind, check_schema, delta_rows, leading_on
from sinks.dump.reader import DumpReader
from sinks.dump.records import Project, of_delta, of_dump, tombstone
from streams.clock import SystemClock
from streams.log import Log, LogUnavailable, Outgoing
from streams.progress import read_progress

LINE_SECONDS = 5.0  # between two lines of progress
CLEAN_SECONDS = 10.0  # between two rounds of compaction of an embedded log
RETRY_SECONDS = 5.0  # after an error that passes
LOST_MAX = 3  # looks in a row at a dump without its delta: a proxy may serve an old list
REFUSED_MAX = 10  # looks in a row that found damage: an upload in progress would be over
NOT_HELD = "not-held"  # reason of a tombstone: the other instance does not have it

log_ = structlog.get_logger("bootstrap")


def bootstrap(given: Mapping[str, object], place: str) -> int:
    """The command; its exit code."""
    log_to_stderr()
    settings, data = located(given)
    data = data.absolute()
    replace_all, follow = bool(given["replace"]), bool(given["follow"])
    how = How(place, replace=replace_all, follow=follow, journal=not given["no_journal"])
    return run_until_stopped(_bootstrap(settings, data, how))


@dataclass(frozen=True)
class How:
    """The command's arguments."""

    place: str
    replace: bool
    follow: bool
    journal: bool


async def _bootstrap(settings: Settings, data: DataDir, how: How) -> int:
    source = open_source(how.place, data.state / "bootstrap")
    try:
        if not settings.kafka and not data.log.exists():
            await source.reach()  # nothing is created for a source that cannot be reached
        log = await open_log(settings, data, loading=True)
        try:
            with contextlib.ExitStack() as locks:
                for role in ("produce", "process"):
                    locks.callback(data.hold(role).release)
                if settings.kafka:
                    await _alone(log)
                await Bootstrap(settings, data, log, source, how.journal).run(how)
        finally:
            await log.close()
    finally:
        await source.close()
    return 0


async def _alone(log: Log) -> None:
    """On Kafka no lock shows other processes. Raises WriterFenced if one has the role `produce`."""
    other = await other_holder(log, whoami.own_name(), whoami.has_ended)
    if other is not None:
        raise WriterFenced(
            f"a `produce` is alive on this log: {other.holder}",
            hint="stop every `produce` and `process` of this log first",
        )


@dataclass
class Bootstrap:
    """One run of the command. `at`: how much of the other log is taken in."""

    settings: Settings
    data: DataDir
    log: Log
    source: Source
    journal: bool = True  # whether rows from before the dump are loaded
    at: Places = ()
    other: str = ""
    created: str = ""
    loader: Loader = field(init=False)
    _newest: Manifest | None = None  # the last dump manifest seen
    _leading: Places | None = None  # where the last delta seen leads
    _lost: int = 0  # looks in a row at a dump that no delta leads to
    _stumbled: bool = False  # the log did not answer, so its writers cannot be used again

    def __post_init__(self) -> None:
        """Make a new loader."""
        self.loader = self._new_loader()

    async def run(self, how: How) -> None:
        """Load what is due, then follow if that is wanted. Raises Fatal errors."""
        try:
            progress = await read_progress(self.log)
            goes_on = how.follow and not how.replace and not progress.loading
            if goes_on and progress.config is not None:
                await self.go_on()
            else:
                await self.load(replace_all=how.replace)
            if how.follow:
                await self._follow()
            else:
                click.echo(next_steps(self.data.root))
        except asyncio.CancelledError:
            say(await self._ended(), "bootstrap")
            raise
        finally:
            await self.loader.close()

    async def _ended(self) -> str:
        """Where a signal ended it, and how to resume."""
        if (await read_progress(self.log)).loading:
            return "stopped half-way: nothing else works on this log until the same command ends"
        return "stopped; the same command goes on from there, or `pypistream run`"

    def _new_loader(self) -> Loader:
        return Loader(self.log, SystemClock(), self._lacking, self.source.place)

    def _lacking(self, topic: Topic, name: str) -> Outgoing:
        return tombstone(topic, name, None, self.created, NOT_HELD)

    # --- the dump -----------------------------------------------------------------------------

    async def load(self, *, replace_all: bool) -> None:
        """Load the newest dump, and the deltas that follow it."""
        before: Manifest | None = None
        while True:
            dump = await self.source.dump()
            try:
                await self._load_dump(dump, replace_all=replace_all)
                break
            except DumpCorrupt as error:
                if dump.manifest == before:
                    raise
                log_.warning("is there a newer dump?", error=str(error))
                before = dump.manifest
                await self._anew()
        await self.source.forget()
        await self._take_deltas((await self.source.look()).deltas)

    async def _anew(self) -> None:
        """A new loader with new writers."""
        await self.loader.close()
        self.loader = self._new_loader()

    async def _load_dump(self, dump: DumpReader, *, replace_all: bool) -> None:
        manifest = dump.manifest
        rule = checked(manifest, self.source.place)
        self.created = manifest.created
        origin = origin_of(manifest, self.source.place)
        await self.loader.begin(rule, manifest.releases, replace=replace_all)
        self.data.store(
            replace(
                self.settings,
                include=rule.include,
                exclude=rule.exclude,
                releases=manifest.releases,
            ).stored()
        )
        rows = [dump.rows(name) if name in manifest.files else iter(()) for name in FILES]
        telling = asyncio.create_task(self._tell(manifest.names))
        try:
            carried = await asyncio.to_thread(carried_with, dump, journal=self.journal)
            projects = of_dump(rows[0], rows[1], rows[2], manifest.created, carried.removed)
            with collecting_seldom():
                await self.loader.load(_records(projects), origin, carried.journal)
        finally:
            await ended(telling)
        self.at, self.other = origin.places, origin.log
        click.echo(summary(manifest, self.loader.written, self.loader.same))
        if more := told_of(carried, self.loader.rows):
            click.echo(more)

    async def _tell(self, names: int) -> None:
        while True:
            await asyncio.sleep(LINE_SECONDS)
            done = self.loader.written + self.loader.same
            journal = f", {self.loader.rows:,} rows of the journal" if self.loader.rows else ""
            say(f"{done:,} records of about {3 * names:,}{journal}", "bootstrap")

    # --- the deltas ---------------------------------------------------------------------------

    async def go_on(self) -> None:
        """Continue with what an earlier command has loaded."""
        dump = (await self.source.look()).dump
        if dump is None:
            raise AssertionError("a first look finds something")
        checked(dump, self.source.place)
        known = await self.loader.resume(dump.log)
        self.at, self.other = known.places, known.log
        self.data.store(self.settings.stored())

    async def _follow(self) -> None:
        """Load deltas as they come, until cancelled, with the sinks beside it as in a `run`."""
        say(f"following {self.source.place}; Ctrl-C ends it", "bootstrap")
        sinks = SinksChild(self.settings, on_event=lambda _: None)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(restarting(self._clean))
                tasks.create_task(sinks.run())
                tasks.create_task(self._poll())
        except BaseExceptionGroup as group:
            raise first_of(group) from None
        finally:
            await sinks.stop()

    async def _poll(self) -> None:
        refused = 0
        while True:
            wait = self.settings.poll
            try:
                await self.look()
                refused = 0
            except DumpCorrupt as error:
                # An upload may be in progress, or a proxy may serve old files.
                refused += 1
                if refused == REFUSED_MAX:
                    raise
                log_.warning("refused", why=str(error), hint=error.hint)
            except (Retriable, LogFull) as error:
                log_.warning("waiting", error=str(error), seconds=RETRY_SECONDS)
                self._stumbled = isinstance(error, LogUnavailable | LogFull)
                wait = max(wait, RETRY_SECONDS)
            await asyncio.sleep(wait)

    async def look(self) -> None:
        """Load what is new: deltas, or the whole dump where deltas are missing.

        Raises DumpCorrupt for damaged or older files: nothing of them was loaded.
        """
        try:
            if self._stumbled:
                await self._begin_again()
            latest = await self.source.look()
            await self._take_deltas(latest.deltas)
            self._newest = latest.dump or self._newest
            self._compare(news=latest.dump is not None)
        except DeltasMissing as error:
            log_.warning("the dump is loaded anew", why=str(error))
            await self._anew()
            await self.load(replace_all=True)
            self._lost = 0

    async def _begin_again(self) -> None:
        """Start again after the log did not answer: its last transaction may be there or not."""
        await self._anew()
        if (await read_progress(self.log)).loading:
            raise DeltasMissing("a delta was taken in half")
        self.at = (await self.loader.resume(self.other)).places
        self._stumbled = False

    def _compare(self, *, news: bool) -> None:
        """Whether the newest dump is the state that the deltas lead to, now or soon."""
        dump = self._newest
        if dump is None:
            return
        if dump.log != self.other:
            raise LogMismatch(
                f"the dump is of log {dump.log} now, what was loaded is of log {self.other}",
                hint="was the other instance set up anew? pypistream bootstrap --replace takes it",
            )
        newest = places(dump.vector)
        # A dump is published shortly after the delta that leads to it.
        lags = self._leading is None or behind(self._leading, self.at)
        if news and lags and behind(newest, self.at):
            raise DumpCorrupt(
                f"the dump of {dump.created} lies behind what was taken in already",
                hint="a proxy or mirror lags; nothing was taken from it",
            )
        self._lost = self._lost + 1 if behind(self.at, newest) else 0
        if self._lost == LOST_MAX:
            raise DeltasMissing(f"no delta leads to the dump of {dump.created}")

    async def _take_deltas(self, manifest: DeltaManifest | None) -> None:
        if manifest is None:
            return
        self._leading = manifest.deltas[-1].end if manifest.deltas else None
        for delta in leading_on(manifest, self.other, self.at):
            path = await self.source.delta(delta)
            # Read it to its end before anything is written: only then is its SHA-256 known to
            # match.
            await asyncio.to_thread(_read_through, delta_rows(path, delta))
            projects = of_delta(delta_rows(path, delta), delta.created)
            before = self.loader.written
            await self.loader.take(_records(projects), origin_of_delta(delta, self))
            self.at = delta.end
            say(
                f"delta of {delta.created}: {self.loader.written - before:,} records,"
                f" {claim_of(delta.watermark)}",
                "bootstrap",
            )
        await self.source.forget()

    async def _clean(self) -> None:
        while True:
            await self.log.clean(SystemClock().now_ms())
            await asyncio.sleep(CLEAN_SECONDS)


def _records(projects: Iterator[Project]) -> Iterator[Sequence[Outgoing]]:
    return (project.records for project in projects)


def _read_through(rows: Iterator[bytes]) -> None:
    for _ in rows:
        pass


def checked(manifest: Manifest, place: str) -> Filter:
    """The dump's filter. Pure. Raises DumpCorrupt for a dump from which no log can be made."""
    check_schema(manifest.schema, place)
    if manifest.filter is None:
        raise DumpCorrupt(
            f"the dump at {place} does not say which projects it holds",
            hint="its instance is of an older version: update it, then `pypistream dump`",
        )
    if not manifest.reached:
        raise DumpCorrupt(
            f"the dump at {place} claims nothing yet: its instance has only just begun",
            hint="wait for its next dump",
        )
    return manifest.filter


def origin_of(manifest: Manifest, place: str) -> Origin:
    """The origin that a dump states. Pure."""
    times = [cut.time for cut in manifest.vector if cut is not None]
    return Origin(
        log=manifest.log,
        places=places(manifest.vector),
        source=place,
        base=_base(manifest.watermark, manifest.base, manifest.reached),
        reached=manifest.reached,
        time=min(times, default=0),
    )


def origin_of_delta(delta: Delta, of: Bootstrap) -> Origin:
    """The origin that a delta states. Pure."""
    return Origin(
        log=of.other,
        places=delta.end,
        source=of.source.place,
        base=_base(delta.watermark, delta.base, delta.reached),
        reached=delta.reached,
        time=int(datetime.fromisoformat(delta.created).timestamp()),
    )


def _base(watermark: int | None, base: int, reached: int) -> int:
    """The base: 0 if the manifest states a watermark, since only that speaks for every project."""
    return 0 if watermark is not None else base or reached

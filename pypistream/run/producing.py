"""The role `produce`: writes the journal into the log, in only one live process."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import structlog

from producers.changelog import ChangelogProducer, ProducerSettings
from producers.presence import SIGN_SECONDS, SILENT_SECONDS, other_holder
from pypistream.restarts import RESTART_SECONDS, Lives, first_of, isolated, restarting
from pypistream.run import whoami
from pypistream.settings import Settings
from schemas.errors import PypistreamError, WriterFenced
from schemas.records import Config
from streams.clock import Clock
from streams.log import Log

GONE_POLLS = 30  # poll periods without XML-RPC before the index is followed instead
GONE_SECONDS_MAX = 300.0  # but no longer than this: an outage of the route is over by then
LAST_SIGN_SECONDS_MAX = 2.0  # for "I have ended": without it a successor waits SILENT_SECONDS

log_ = structlog.get_logger("produce")


def producer_settings(settings: Settings, new: bool, base: int | None = None) -> ProducerSettings:
    """The producer's settings; on a log with a filter only the projects asked for are compared."""
    filtered = bool(settings.include or settings.exclude)
    return ProducerSettings(
        poll_seconds=settings.poll,
        base=base,
        wanted=settings.filter if new or filtered else None,
        releases=settings.releases,
        leave_out=settings.left_out,
        gone_seconds=min(GONE_SECONDS_MAX, GONE_POLLS * settings.poll),
        xmlrpc=not settings.no_xmlrpc,
    )


@dataclass
class Producing:
    """Call `begin`, then `run`. `apart`: other processes may want the role, and no lock shows them.

    `take_over`: do not check first whether another one is alive: it is fenced and ends.
    """

    log: Log
    producer: ChangelogProducer
    clock: Clock
    apart: bool = False
    take_over: bool = False
    name: str = field(default_factory=whoami.own_name)
    _stumbled: bool = field(init=False, default=False)
    _lives: Lives = field(init=False)

    def __post_init__(self) -> None:
        """What was read of the journal is progress."""
        self._lives = Lives("produce", lambda: self.producer.head)

    async def begin(self) -> Config:
        """Take the writer id, then found the log or read it.

        Raises Retriable, LogMismatch; WriterFenced if another one is alive.
        """
        if self.apart and not self.take_over:
            await self._alone("another `produce` is alive")
        try:
            config = await self.producer.begin()
            if self.apart:
                await self._sign_once()
        except BaseException:
            await self.producer.close()  # the next attempt makes a new one
            raise
        return config

    async def run(self) -> None:
        """Poll until cancelled, or until an error that does not pass.

        Raises WriterFenced if another process has taken the role.
        """
        try:
            while True:
                wait = await self._session()
                await asyncio.sleep(wait)
        finally:
            await self._leave()

    async def _session(self) -> float:
        """One session, from taking the writer id to the first error; seconds until the next one."""
        wait = RESTART_SECONDS
        self._lives.begins()
        fenced: BaseException | None = None
        try:
            await isolated(self._hold)
        except* WriterFenced as group:
            fenced = first_of(group)
        except* Exception as group:  # noqa: BLE001  # sorted out there
            wait = self._lives.failed(group)
        if fenced is None:
            return wait
        if not self.apart:
            raise fenced
        # Brokers also fence a writer whose transaction took too long: is there really another one?
        log_.warning("the `produce` id is lost", error=str(fenced))
        text = "another process has taken `produce`"
        await restarting(lambda: self._alone(text, fenced=True))
        return wait

    async def _hold(self) -> None:
        if self._stumbled:
            await self.producer.begin()
        self._stumbled = True  # whatever ended this, the writer is discarded and never reused
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.producer.run())
            if self.apart:
                tasks.create_task(self._sign())

    async def _sign(self) -> None:
        while True:
            await self._sign_once()
            await asyncio.sleep(SIGN_SECONDS)

    async def _sign_once(self, *, ended: bool = False) -> None:
        await self.producer.sign(whoami.sign(self.clock.now_ms(), self.name, ended=ended))

    async def _alone(self, text: str, *, fenced: bool = False) -> None:
        other = await other_holder(self.log, self.name, whoami.has_ended, fenced=fenced)
        if other is None:
            return
        raise WriterFenced(
            f"{text}: {other.holder}, last seen {_ago(self.clock.now_ms() / 1000 - other.time)}",
            hint="one is enough; stop that one first, or take its place with `produce --take-over` "
            f"(where nobody can tell that it was killed, a new one waits {SILENT_SECONDS:g} s)",
        )

    async def _leave(self) -> None:
        """Try to report our end, so that a successor need not wait; errors are ignored."""
        if self.apart:
            with contextlib.suppress(TimeoutError, PypistreamError):
                async with asyncio.timeout(LAST_SIGN_SECONDS_MAX):
                    await self._sign_once(ended=True)
        await self.producer.close()


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds >= 1 else "just now"

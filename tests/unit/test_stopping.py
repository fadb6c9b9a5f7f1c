"""What a signal, and a second one, does to a command that is at work."""

from __future__ import annotations

import asyncio
import os
import signal
from signal import SIG_DFL, SIG_IGN, SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from pypistream import stopping
from pypistream.cli import EXIT_INTERRUPTED


@pytest.mark.parametrize(
    ("first", "second", "seconds", "once_more"),
    [
        (SIGTERM, SIGTERM, 0.99, True),
        (SIGTERM, SIGTERM, 1.0, False),
        (SIGTERM, SIGINT, 0.0, False),
        (SIGINT, SIGTERM, 0.0, False),
        (SIGINT, SIGINT, 0.0, False),
        (SIGHUP, SIGHUP, 5.0, True),
        (SIGTERM, SIGHUP, 5.0, True),
        (SIGHUP, SIGINT, 0.0, False),
    ],
)
def test_a_sigterm_that_make_hands_on_is_no_second_one(
    first: Signals, second: Signals, seconds: float, once_more: bool
) -> None:
    """Nor is a terminal that closes; but whoever presses a key twice means it."""
    assert once_more is stopping.handed_on(first, 7.0, second, 7.0 + seconds)


def test_nohup_outlives_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has SIGHUP ignored, which must not be undone."""
    monkeypatch.setattr(signal, "getsignal", lambda _: SIG_IGN)
    ignored = stopping.ending()
    monkeypatch.setattr(signal, "getsignal", lambda _: SIG_DFL)

    assert ignored == (SIGINT, SIGTERM)
    assert stopping.ending() == (SIGINT, SIGTERM, SIGHUP)


def test_the_group_s_end_drains_and_a_key_after_it_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same signal twice asks to end; the next one does not wait for that."""
    codes: list[int] = []

    async def ended() -> None:
        stop, gone = stopping.stop_on_signals(), asyncio.Event()

        def leave(code: int) -> None:
            codes.append(code)
            gone.set()

        monkeypatch.setattr(os, "_exit", leave)
        for _ in range(2):
            os.kill(os.getpid(), SIGTERM)
        await stop.wait()
        await asyncio.sleep(0)
        assert [] == codes
        os.kill(os.getpid(), SIGINT)
        await gone.wait()

    asyncio.run(ended())

    assert [EXIT_INTERRUPTED] == codes


def test_a_drained_stop_ends_work_that_lets_itself_be_cancelled() -> None:
    """Nothing of it is left."""

    async def stopped() -> tuple[bool, bool]:
        work = asyncio.create_task(asyncio.sleep(60))
        return await stopping.drained(work, asyncio.sleep(0), 1.0), work.cancelled()

    assert (True, True) == asyncio.run(stopped())


def test_a_drained_stop_does_not_wait_for_ever() -> None:
    """Work that goes on when it is cancelled is told of."""
    go_on = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await go_on.wait()

    async def stopped() -> bool:
        work = asyncio.create_task(stubborn())
        ended = await stopping.drained(work, asyncio.sleep(0), 0.0)
        go_on.set()
        await work
        return ended

    assert not asyncio.run(stopped())


@pytest.mark.parametrize("while_stopping", [False, True])
def test_a_drained_stop_raises_what_ends_the_work(while_stopping: bool) -> None:
    """Before the end, and also if closing what it holds fails."""

    async def failing() -> None:
        try:
            await asyncio.sleep(60 if while_stopping else 0)
        finally:
            raise OSError("disk full")

    async def stopped() -> None:
        end = asyncio.sleep(0) if while_stopping else asyncio.sleep(60)
        await stopping.drained(asyncio.create_task(failing()), end, 1.0)

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(stopped())

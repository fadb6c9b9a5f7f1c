"""What the events and faults of a schedule do to a simulated run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from schemas import codec
from schemas.names import NormalizedName
from schemas.records import Ask, Reason
from schemas.topics import Topic
from streams.asks import ask_record
from streams.log import LogUnavailable, Outgoing
from tests.support.sim_log import Catch, Trap
from tests.support.sim_schedule import POISONS, Event, Fault
from tests.support.sim_upstream import Lies, Truth

if TYPE_CHECKING:
    from tests.support.simulation import Simulation

MADE_UP_SHARE = 0.2  # of the asks name a serial that no row will have for long
SKIPPED_WRITES_MAX = 4
TURNS_MAX = 30  # of the event loop, to the middle of a commit perhaps
SINK_CALLS_MAX = 120  # asked of disk and database: a publication is about 80 of them
POISON_TIMES = 2  # as long as other faults: longer than I9 lets anybody else wait
DAY_MS = 86_400_000


async def happen(world: Simulation, event: Event) -> None:
    """What people do."""
    rng = Random(event.seed)
    if event.kind == "change":
        world.truth.change(rng)
    elif event.kind == "ask":
        await _ask(world, rng)
    elif event.kind == "garbage":
        await _garbage(world, rng)
    else:
        world.reconcile()


async def _ask(world: Simulation, rng: Random) -> None:
    truth = world.truth
    key = rng.choice(sorted(truth.projects))
    serial = rng.choice((0, truth.projects[key].serial))
    if rng.random() < MADE_UP_SHARE:
        serial = truth.serial + 1_000
        world.history.add("misled", at=world.now(), key=key)
    gone = rng.random() < 0.1
    map_serial = world.base if gone else truth.serial  # an old map, where it lies
    ask = Ask(truth.projects[key].name, rng.choice(list(Reason)), serial, map_serial, gone)
    await _append(world, ask_record(NormalizedName(key), ask, 0))


async def _garbage(world: Simulation, rng: Random) -> None:
    """Records that no reconcile would write; they have no headers either."""
    key = rng.choice(sorted(world.truth.projects))
    value = rng.choice((b"", b"{}", b"\xff", codec.encode(Ask("other", Reason.SWEEP))))
    await _append(world, Outgoing(Topic.REFETCH, key, value, (), rng.randrange(world.partitions)))


async def _append(world: Simulation, record: Outgoing) -> None:
    try:
        await world.log.faulty(lambda: world.memory.append([record]))
    except LogUnavailable:
        return  # whoever asked knows


def sweep(truth: Truth) -> list[Outgoing]:
    """An ask for every name."""
    return [
        ask_record(NormalizedName(key), Ask(project.name, Reason.SWEEP), 0)
        for key, project in sorted(truth.projects.items())
    ]


def break_(world: Simulation, fault: Fault) -> None:
    """What fails; it mends by itself after the fault's time, or when the role is begun anew."""
    rng = Random(fault.seed)
    names = sorted(world.truth.projects)
    key = Random(fault.seed).choice(names) if fault.kind == "poison" else ""
    begin = world.now()
    if fault.kind not in _ALONE:
        end = begin + fault.seconds * (POISON_TIMES if key else 1)
        world.history.add("fault", fault=fault.kind, begin=begin, end=end, key=key)
    _BREAKING[fault.kind](world, fault, rng)


def _kill_in_transaction(world: Simulation, _: Fault, rng: Random) -> None:
    name = rng.choice([name for name in sorted(world.roles) if world.writer_of(name)])
    catch = rng.choice((Catch.KILLED_BEFORE, Catch.KILLED_AFTER))
    _trap(world, name, rng, catch)


def _lost_answer(world: Simulation, _: Fault, rng: Random) -> None:
    name = rng.choice([name for name in sorted(world.roles) if world.writer_of(name)])
    _trap(world, name, rng, rng.choice((Catch.REFUSED, Catch.ANSWER_LOST)))


def _stall(world: Simulation, fault: Fault, rng: Random) -> None:
    name = rng.choice([name for name in sorted(world.roles) if world.writer_of(name)])
    trap = Trap(
        world.writer_of(name), rng.randint(0, SKIPPED_WRITES_MAX), Catch.STALLED,
        lambda: world.take_over(name), fault.seconds,
    )  # fmt: skip
    world.log.traps.append(trap)


def _trap(world: Simulation, name: str, rng: Random, catch: Catch) -> None:
    def caught() -> None:
        crashing.append(asyncio.create_task(world.crash(name)))

    crashing: list[asyncio.Task[None]] = []  # a task that nobody holds may vanish
    skip = rng.randint(0, SKIPPED_WRITES_MAX)
    world.log.traps.append(Trap(world.writer_of(name), skip, catch, caught))


def _kill(world: Simulation, _: Fault, rng: Random) -> None:
    name = rng.choice(sorted(set(world.roles) - set(world.sinks)))
    turns = rng.randint(0, TURNS_MAX)

    async def later() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await world.crash(name)

    world.start(f"killing-{rng.getrandbits(32)}", later())


def _failing_log(world: Simulation, fault: Fault, rng: Random) -> None:
    world.log.share = rng.choice((0.05, 0.3))
    _after(fault.seconds, lambda: setattr(world.log, "share", 0.0))


def _lies(world: Simulation, fault: Fault, rng: Random) -> None:
    share = {
        kind: rng.choice((0.1, 0.4, 0.9))
        for kind in ("stale", "missing", "fails", "broken", "foreign", "slow")
        if rng.random() < 0.4
    }
    world.upstream.lies = Lies(**share, limited=rng.choice((0, 0, 0.05)))
    _after(fault.seconds, lambda: setattr(world.upstream, "lies", Lies()))


def _outage(world: Simulation, fault: Fault, _: Random) -> None:
    world.upstream.down_until = world.now() + fault.seconds


def _poison(world: Simulation, fault: Fault, rng: Random) -> None:
    key = rng.choice(sorted(world.truth.projects))  # the first draw, as in `break_`
    world.upstream.poisoned[key] = Lies(**{rng.choice(POISONS): 1.0})
    _after(POISON_TIMES * fault.seconds, lambda: world.upstream.poisoned.pop(key, None))


def _disk_full(world: Simulation, fault: Fault, _: Random) -> None:
    disk = world.sinks["dump"].faults
    disk.full = True
    _after(fault.seconds, lambda: setattr(disk, "full", False))


def _sink_kill(world: Simulation, _: Fault, rng: Random) -> None:
    world.sinks[rng.choice(sorted(world.sinks))].faults.kill_in(rng.randint(0, SINK_CALLS_MAX))


def _clock_jump(world: Simulation, _: Fault, rng: Random) -> None:
    world.wall.jumped_ms += rng.choice((-DAY_MS, DAY_MS))


def _after(seconds: float, mend: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, mend)


_ALONE = ("disk-full", "sink-kill", "clock-jump")
"""Faults of a sink: nobody else may feel them, so that nothing is excused by them."""

_BREAKING = {
    "kill-in-transaction": _kill_in_transaction,
    "lost-answer": _lost_answer,
    "kill": _kill,
    "stall": _stall,
    "failing-log": _failing_log,
    "lies": _lies,
    "outage": _outage,
    "poison": _poison,
    "disk-full": _disk_full,
    "sink-kill": _sink_kill,
    "clock-jump": _clock_jump,
}

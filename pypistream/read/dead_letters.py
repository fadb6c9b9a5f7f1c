"""`pypistream dead-letters`: what could not be processed and why, and how to ask for it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pypistream.data_dir import DataDir
from pypistream.health.state_fold import StateFold, states_of
from pypistream.place import located
from pypistream.roles import WORKER_ROLE, holders
from pypistream.stopping import run_until_stopped
from pypistream.terminal import Stdout, escaped, shortened
from pypistream.wiring import open_log_for_reading
from schemas import codec
from schemas.codec import rfc3339
from schemas.errors import InvalidName, UsageError
from schemas.names import NormalizedName, normalize
from schemas.records import Ask, DeadLetter, Reason, State, Status
from schemas.topics import Topic
from streams.asks import ask_record
from streams.clock import SystemClock
from streams.log import Log
from streams.masking import MaskedLog
from streams.watching import up_to_now

EXCERPT_CHARACTERS_MAX = 60  # on a terminal; --json has all of it
PIPE_COLUMNS = 4_000  # no wrapping where no person looks


class Letter(msgspec.Struct):
    """A line of --json. `name` is normalised, "" for a journal row whose name could not be read.

    `dead`: nothing newer has settled it; `excerpt`: the beginning of upstream's answer, as text.
    """

    name: str
    display_name: str
    dead: bool
    reason: str
    serial: int
    attempts: int
    time: str
    hash: str
    excerpt: str


class Asked(msgspec.Struct):
    """The result of --replay for --json. `served_now` null: on Kafka other machines may process."""

    asked: str
    serial: int
    status: str
    offset: int
    served_now: bool | None


def dead_letters(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    return run_until_stopped(_dead_letters(given))


async def _dead_letters(given: Mapping[str, object]) -> int:
    settings, data = located(given)
    as_json = bool(given["json"])
    names = given["replay"]
    log = MaskedLog.of(await open_log_for_reading(settings, data))
    try:
        if isinstance(names, tuple) and names:
            here = any(holder.role == WORKER_ROLE for holder in holders(data))
            served_now = True if here else None if settings.kafka else False
            asked = await replay(log, [str(name) for name in names], served_now=served_now)
            _show_asked(asked, data, as_json=as_json)
        else:
            _show_letters(await letters(log, everything=bool(given["all"])), as_json=as_json)
        return 0
    finally:
        await log.close()


async def letters(log: Log, *, everything: bool) -> list[Letter]:
    """The letters, oldest first.

    Without `everything`: the newest one of each name that is dead now.
    """
    fold = StateFold(log)
    await fold.look()
    found: list[Letter] = []
    starts = await log.starts(Topic.DEAD_LETTER)
    reader = await log.reader(starts)
    try:
        async for records in up_to_now(log, reader, starts):
            for record in records:
                if record.value is not None:
                    letter = codec.decode(record.value, DeadLetter)
                    found.append(_letter(record.key or "", letter, fold.exceptions))
    finally:
        await reader.close()
    found.sort(key=lambda letter: letter.time)
    if not everything:
        newest = {letter.name: letter for letter in found if letter.dead}
        found = sorted(newest.values(), key=lambda letter: letter.time)
    return found


def _letter(name: str, letter: DeadLetter, owed: Mapping[str, State]) -> Letter:
    state = owed.get(name)
    return Letter(
        name=name,
        display_name=letter.name,
        dead=state is not None and state.status is Status.DEAD,
        reason=letter.reason,
        serial=letter.serial,
        attempts=letter.attempts,
        time=rfc3339(letter.time_ms / 1000),
        hash=letter.hash,
        excerpt=letter.excerpt,
    )


async def replay(log: Log, texts: Sequence[str], *, served_now: bool | None) -> list[Asked]:
    """Ask for names again, all of them or none. Raises UsageError for one not known here."""
    clock = SystemClock()
    wanted = {_normalized(text): text for text in texts}
    found: list[tuple[NormalizedName, State]] = []
    records = []
    for name, state in (await states_of(log, wanted)).items():
        if state is None:
            raise UsageError(
                f"this log knows no project {name!r}",
                hint="`pypistream dead-letters` lists what can be asked for again",
            )
        ask = Ask(state.name or wanted[name], Reason.OPERATOR, state.event)
        records.append(ask_record(name, ask, clock.now_ms()))
        found.append((name, state))
    offsets = await log.append(records)
    return [
        Asked(name, state.event, state.status.value, offset, served_now)
        for (name, state), offset in zip(found, offsets, strict=True)
    ]


def _normalized(text: str) -> NormalizedName:
    try:
        return normalize(text)
    except InvalidName as error:
        raise UsageError(str(error), hint="give a project name, as in `dead-letters`") from error


def _show_asked(asked: Sequence[Asked], data: DataDir, *, as_json: bool) -> None:
    stdout = Stdout()
    for each in asked:
        if as_json:
            stdout.write(msgspec.json.encode(each) + b"\n")
            continue
        if each.served_now is None:
            what = "whoever processes this log fetches it, after live events"
        elif each.served_now:
            what = "the running process fetches it now, after live events"
        else:
            what = f"no process runs here: `pypistream run --data {data.root}` will fetch it"
        line = f"asked for {each.asked} (was {each.status}, serial {each.serial}): {what}\n"
        stdout.write(escaped(line[:-1]).encode() + b"\n")


def _show_letters(found: Sequence[Letter], *, as_json: bool) -> None:
    stdout = Stdout()
    if as_json:
        for letter in found:
            stdout.write(msgspec.json.encode(letter) + b"\n")
        return
    if not found:
        stdout.write(b"nothing is dead\n")
        return
    console = Console(width=None if stdout.terminal else PIPE_COLUMNS, highlight=False)
    with console.capture() as captured:
        console.print(_table(found))
    lines = (line.rstrip() for line in captured.get().splitlines())
    stdout.write("".join(f"{line}\n" for line in lines).encode())


def _table(found: Sequence[Letter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("name", "time", "serial", "attempts", "reason", "excerpt"):
        table.add_column(header, overflow="fold")
    for letter in found:
        table.add_row(*(Text(cell) for cell in _cells(letter)))
    return table


def _cells(letter: Letter) -> Iterator[str]:
    yield letter.name or "(journal row)"
    yield letter.time
    yield str(letter.serial)
    yield str(letter.attempts)
    yield escaped(letter.reason)
    yield shortened(escaped(letter.excerpt[:EXCERPT_CHARACTERS_MAX]), EXCERPT_CHARACTERS_MAX)

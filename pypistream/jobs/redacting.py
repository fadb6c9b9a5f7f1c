"""`pypistream redact`: write a rule into the log, and see it applied; see docs/redaction.md.

The process that works on the log rewrites the documents. On an embedded log without one this
command does so itself; upstream is not asked for anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from processors.slots import Slots
from pypistream.data_dir import DataDir
from pypistream.jobs.redacting_sinks import follow_here
from pypistream.logs import log_to_stderr
from pypistream.place import located
from pypistream.restarts import ended
from pypistream.run.processing import Means, Processing
from pypistream.run.silence import Silence
from pypistream.settings import Settings
from pypistream.stopping import run_until_stopped
from pypistream.terminal import confirmed
from pypistream.wiring import open_log_for_reading, require_log, topics_now
from schemas.errors import DataDirectoryInUse, Fatal, InvalidName, UsageError
from schemas.names import normalize
from schemas.records import Config, Rule
from schemas.redaction import FIELDS, OWNERSHIP, PERSONAL, known_fields
from schemas.topics import Topic, partition_of
from streams.assignment import Everything
from streams.clock import SystemClock
from streams.log import Log, TopicPartition
from streams.masking import masked
from streams.progress import ProgressWatch, check_loaded, read_progress, redacted_under
from streams.rules import read_rules, rule_key, rule_record, rules_kept

LOOK_SECONDS = 0.5  # of one wait for a cut, which ends it at once
KAFKA_LAG, KAFKA_RETENTION = "max.compaction.lag.ms", "retention.ms"


@dataclass(frozen=True)
class _Wanted:
    settings: Settings
    data: DataDir
    rule: Rule
    seconds: float


def redact(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    log_to_stderr()
    settings, data = located(given)
    fields = given["field"]
    rule = rule_of(given["name"], fields if isinstance(fields, tuple) else ())
    wait = given["wait"]
    seconds = float(wait) if isinstance(wait, int | float) else 0.0
    require_log(settings, data)  # before the question: a mistyped --data has nothing to leave out
    question = (
        f"Leave {', '.join(rule.fields)} of every project out for ever, also of what is published?"
        " It cannot be taken back."
    )
    if not rule.name and not confirmed(question, yes=bool(given["yes"]), default=False):
        say("nothing was changed")
        return 0
    return run_until_stopped(_redact(_Wanted(settings, data, rule, seconds)))


def rule_of(name: object, fields: Sequence[object]) -> Rule:
    """The rule that the options state. Raises UsageError."""
    given = [str(each).replace("-", "_") for each in fields]
    unknown = [each for each in given if not known_fields((each,))]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} cannot be left out", hint=f"one of {', '.join(sorted(FIELDS))}"
        )
    if name is None and not given:
        raise UsageError(
            "say what to leave out",
            hint="pypistream redact NAME, or --field FIELD for every project",
        )
    try:
        normalized = "" if name is None else normalize(str(name))
    except InvalidName as error:
        raise UsageError(str(error), hint="the name of one project, as on PyPI") from error
    wanted = known_fields(given) if given else PERSONAL
    return Rule(normalized, tuple(sorted(wanted)), int(time.time()))


async def _redact(wanted: _Wanted) -> int:
    log = await open_log_for_reading(wanted.settings, wanted.data)
    try:
        progress = await read_progress(log)
        check_loaded(progress.bootstrap)
        if progress.config is None:
            raise UsageError(
                "nothing has worked on this log yet: there is nothing to leave out",
                hint="start `pypistream run` with --leave-out",
            )
        await _make_rule(log, wanted.rule)
        count = (await read_rules(log)).count
        await _applied(wanted, log, progress.config, count)
        await _purged(log)
        say(f"log: every partition is done with {count} {'rule' if count == 1 else 'rules'}")
        for line in await follow_here(wanted.settings, wanted.data, log, count, wanted.seconds):
            say(line)
        for line in await later(wanted.settings, wanted.data, wanted.rule):
            say(line)
    finally:
        await log.close()
    return 0


async def _make_rule(log: Log, rule: Rule) -> None:
    whose = rule.name or "every project"
    if rule_key(rule) in await rules_kept(log):
        say(f"rule: {', '.join(rule.fields)} of {whose} was there already")
        return
    await log.append([rule_record(log, rule, SystemClock().now_ms())])
    say(f"rule: {', '.join(rule.fields)} of {whose}, from now on and for ever")
    if rule.name and not await _heard_of(log, rule.name):
        say(f"note: this log does not know {rule.name}; the rule applies once it appears")


async def _heard_of(log: Log, name: str) -> bool:
    at = TopicPartition(Topic.STATE, partition_of(name, log.partitions))
    return name in (await log.table(at)).rows


async def _applied(wanted: _Wanted, log: Log, config: Config, count: int) -> None:
    """Wait until every published document is rewritten. Raises Fatal if no process does it."""
    if wanted.settings.kafka:
        await _seen(log, count, wanted.seconds)
        return
    try:
        lock = wanted.data.hold("process")
    except DataDirectoryInUse:
        await _seen(log, count, wanted.seconds)
        return
    try:
        means = Means(log, Silence(), SystemClock(), Slots(1), config, 0.0)
        processing = Processing(means, Everything(config.partitions))
        await _until(_seen(log, count, float("inf")), processing.run())
    finally:
        lock.release()


async def _until(looking: Coroutine[Any, Any, None], working: Coroutine[Any, Any, None]) -> None:
    """Run both until one of them ends, and cancel the other. Raises what that one raised."""
    tasks = [asyncio.create_task(each) for each in (looking, working)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            await ended(task)


async def _seen(log: Log, count: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    async with ProgressWatch(log) as watch:
        while True:
            cuts = (await watch.look(LOOK_SECONDS)).cuts
            if all(cuts) and redacted_under(cuts) >= count:
                return
            if time.monotonic() > deadline:
                raise Fatal(
                    f"the rule is kept, but not every partition was done with it in {seconds:g} s",
                    hint="whoever processes this log next applies it: start one, and give this"
                    " command again to see to the rest",
                )


async def _purged(log: Log) -> None:
    """Delete older copies, and excerpts in dead letters of the projects concerned."""
    rules = await read_rules(log)
    await log.purge(lambda record: masked(record, rules).value)


async def later(settings: Settings, data: DataDir, rule: Rule) -> list[str]:
    """Which copies still exist, and until when."""
    lines = []
    if settings.kafka:
        report = await topics_now(settings, data)
        configs = {each.topic: each.configs or {} for each in report.topics}
        lines.append(
            f"kafka: older copies in `metadata` are gone by"
            f" {_date(configs[Topic.METADATA].get(KAFKA_LAG))} ({KAFKA_LAG}), what could not be"
            f" read in `dead-letter` by {_date(configs[Topic.DEAD_LETTER].get(KAFKA_RETENTION))}"
            f" ({KAFKA_RETENTION})"
        )
    if OWNERSHIP in rule.fields:
        lines.append(
            "journal: `changelog` keeps what PyPI wrote; no sink and no feed shows user names of it"
        )
    return lines


def _date(milliseconds: str | None) -> str:
    """The date after so much time, rounded up to whole days."""
    if milliseconds is None or not 0 <= int(milliseconds) < _NEVER_MS:
        return "no set time"
    return datetime.fromtimestamp(time.time() + int(milliseconds) / 1000 + 86_400, UTC).strftime(
        "%Y-%m-%d"
    )


_NEVER_MS = 100 * 365 * 86_400_000  # Kafka's own way to say never is longer


def say(line: str) -> None:
    """A line for a person or a program."""
    click.echo(line)

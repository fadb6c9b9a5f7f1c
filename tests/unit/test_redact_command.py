"""What `pypistream redact` and `--leave-out` take, and what they refuse."""

from __future__ import annotations

import asyncio

import pytest

from producers.founding import found
from pypistream.jobs.redacting import _make_rule, _until, rule_of
from pypistream.settings import Settings, resolve
from schemas.errors import LogMismatch, UsageError
from schemas.redaction import PERSONAL
from schemas.topics import partition_of
from streams.log import Log
from streams.memory_log import MemoryLog
from streams.rules import read_rules, rule_key, rule_record, rules_kept
from tests.support.view_records import state


def test_a_name_alone_means_all_that_is_about_persons() -> None:
    rule = rule_of("Sample_Project", ())

    assert (rule.name, frozenset(rule.fields)) == ("sample-project", PERSONAL)


def test_fields_may_be_spelled_like_options() -> None:
    """Their order tells no two rules apart, nor does the time."""
    rule = rule_of(None, ("author-email", "author"))
    same = rule_of(None, ("author", "author_email"))

    assert rule.fields == ("author", "author_email")
    assert rule_key(rule) == rule_key(same) == "redaction::author,author_email"


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        (None, (), "say what"),
        ("foo", ("name",), "'name' cannot"),
        ("foo", ("version",), "'version' cannot"),
        ("../foo", (), "foo"),
    ],
)
def test_what_cannot_be_left_out(name: str | None, fields: tuple[str, ...], why: str) -> None:
    """A project's identity, and nothing at all."""
    with pytest.raises(UsageError, match=why):
        rule_of(name, fields)


def test_a_setting_names_fields_or_all_of_them() -> None:
    assert frozenset(resolve({"leave_out": ("personal",)}).left_out) == PERSONAL
    assert Settings().left_out == ()
    with pytest.raises(UsageError, match="cannot be left out"):
        resolve({"leave_out": ("names",)})


async def founded(log: Log, *fields: str) -> None:
    writer = await log.writer("produce")
    await found(log, writer, 1, None, "all", fields)
    await writer.close()


async def test_a_log_keeps_what_it_was_made_with() -> None:
    """Whoever says nothing takes it as it is; more is left out by a rule."""
    log = MemoryLog()
    await founded(log, "author", "author_email")
    await founded(log)
    with pytest.raises(LogMismatch, match="author, author_email"):
        await founded(log, "author")

    rules = await read_rules(log)
    assert (rules.count, rules.fields("foo")) == (1, frozenset({"author", "author_email"}))


async def test_rules_lie_side_by_side_and_garbage_is_none() -> None:
    """Each under a key of its own: nobody overwrites another's."""
    log = MemoryLog()
    for rule in (rule_of("foo", ()), rule_of("bar", ("summary",)), rule_of("foo", ())):
        await log.append([rule_record(log, rule, 1)])
    await log.append([rule_record(log, rule_of("baz", ()), 1)._replace(value=b"{}")])
    await log.append([rule_record(log, rule_of("qux", ()), 1)._replace(value=b'{"name": 1}')])

    rules = await read_rules(log)
    assert rules.count == 2
    assert rules.names == frozenset({"foo", "bar"})
    assert len(await rules_kept(log)) == 2


@pytest.mark.parametrize("known", [False, True])
async def test_a_name_that_nobody_has_heard_of_is_said(
    known: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rule is made all the same: it may be wanted beforehand, and it may be misspelt."""
    log = MemoryLog(2)
    await founded(log)
    if known:
        at = partition_of("sample", 2)
        await log.append([state("sample")._replace(partition=at)])
    await _make_rule(log, rule_of("sample", ()))

    assert (await read_rules(log)).count == 1
    assert ("does not know sample" in capsys.readouterr().out) is not known


@pytest.mark.parametrize("stopped", [True, False])
async def test_no_work_goes_on_behind_its_end(stopped: bool) -> None:
    """Neither after a Ctrl-C nor after a look that failed: the log is closed then."""
    left: list[str] = []

    async def working() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append("work")

    async def looking() -> None:
        await asyncio.Event().wait() if stopped else await asyncio.sleep(0)
        raise LogMismatch("no such log")

    both = asyncio.create_task(_until(looking(), working()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if stopped:
        both.cancel()
    with pytest.raises(asyncio.CancelledError if stopped else LogMismatch):
        await both

    assert ["work"] == left

"""`pypistream doctor`: whether everything works, and what to do if not. Changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from pypistream.cli import EXIT_FAILED
from pypistream.health import doctor_checks as checks
from pypistream.health import doctor_log
from pypistream.health.doctor_checks import Finding, Verdict
from pypistream.place import located
from pypistream.stopping import run_until_stopped
from pypistream.terminal import Stdout, escaped
from schemas.errors import PypistreamError


def doctor(given: Mapping[str, object]) -> int:
    """The command; its exit code: 1 if there is a problem."""
    return run_until_stopped(_doctor(given, Stdout()))


async def _doctor(given: Mapping[str, object], stdout: Stdout) -> int:
    problems = 0
    async for finding in examine(given):
        problems += finding.verdict is Verdict.PROBLEM
        todo = f"\n{'':9}{'':14}{finding.todo}" if finding.todo else ""
        line = f"{finding.verdict.value:<9}{finding.what:<14}{escaped(finding.text)}{todo}\n"
        stdout.write(line.encode())
    return EXIT_FAILED if problems else 0


async def examine(given: Mapping[str, object]) -> AsyncIterator[Finding]:
    """Run every check, the quick ones first."""
    deep = bool(given["deep"])
    try:
        settings, data = located(given)
        data.check()
    except PypistreamError as error:
        yield checks.failed("settings", error)
        return
    yield checks.ok("settings", f"data directory {data.root.absolute()}")
    for finding in checks.machine(data):
        yield finding
    if settings.kafka or data.log.exists():
        yield checks.roles(data)
        async for finding in doctor_log.stored(settings, data, deep=deep):
            yield finding
        for finding in checks.published(data, deep=deep):
            yield finding
    else:
        todo = f"`pypistream run --data {data.root}` makes one, `pypistream demo` shows it"
        yield Finding(Verdict.NOTE, "log", "none here yet", todo)
    yield await checks.upstream(settings, await doctor_log.held(settings, data))

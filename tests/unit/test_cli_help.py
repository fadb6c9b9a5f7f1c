"""The command line itself: quick help, clear refusals."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import pytest

from pypistream.cli import app
from pypistream.commands import follow, query
from schemas.records import Kind
from sinks.duckdb.query import FORMATS
from sinks.http.streams.selection import SECURITY
from tests.support.reading_world import command_line, run

CPU_SECONDS_MAX = (
    0.3  # of the user's patience; measured as CPU, which a busy machine does not stretch
)
ATTEMPTS = 3  # the first one may have to compile
CONTEXT = click.Context(app)
COMMANDS = app.list_commands(CONTEXT)


def _cpu_seconds(*arguments: str, cwd: Path) -> float:
    """What one command cost, in user and system time of its process."""
    output = os.open(cwd / "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    file_actions = [(os.POSIX_SPAWN_DUP2, output, 1)]
    process = os.posix_spawn(
        sys.executable, command_line(*arguments), os.environ, file_actions=file_actions
    )
    os.close(output)
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_instant(command: str, tmp_path: Path) -> None:
    """Below 0.3 s for every command: none imports DuckDB, httpx or rich to explain itself."""
    arguments = [command, "--help"] if command else ["--help"]
    costs = []
    for _ in range(ATTEMPTS):
        costs.append(_cpu_seconds(*arguments, cwd=tmp_path))
        if costs[-1] < CPU_SECONDS_MAX:
            break

    assert min(costs) < CPU_SECONDS_MAX
    assert "Usage: pypistream" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_is_for(name: str) -> None:
    """In the list of commands, on its own page, and option by option."""
    command = app.get_command(CONTEXT, name)

    assert command is not None
    assert command.name == name
    assert command.short_help
    assert command.help
    assert "\\b" not in command.help  # click's mark is the character itself, not its escape
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_kafka_come_last(name: str) -> None:
    """Nine of them on nearly every page: what the command itself can be told comes first."""
    command = app.get_command(CONTEXT, name)
    assert command is not None
    kafka = [str(each.name).startswith("kafka") for each in command.params]

    assert sorted(kafka) == kafka


def test_choices_are_those_of_the_code() -> None:
    """They are written out beside the options so that `--help` need not import the code."""
    assert set(follow.KINDS) == {*(kind.value for kind in Kind), SECURITY}
    assert set(query.FORMATS) == set(FORMATS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["folloow"], "No such command 'folloow'. Did you mean 'follow'?"),
        (["statsu"], "Did you mean 'status'?"),
        (["run", "--contct", "x"], "No such option '--contct'. (Did you mean one of: '--contact'"),
        (["run", "--rate", "fast"], "'fast' is not a valid float"),
        (["run", "--rate", "-1"], "rate = -1.0 is out of range"),
        (["run", "--in-flight", "17"], "in_flight = 17 is out of range"),
        (["run", "--poll", "0.5"], "poll = 0.5 is out of range"),
        (["run"], "PyPI wants to know whom to ask about a crawler, and no contact is set"),
        (["follow", "--since", "-4"], "-4 is not in the range x>=0"),
        (["follow", "-c", "0"], "0 is not in the range x>=1"),
        (["follow", "--topic", "state"], "'state' is not one of"),
        (["query"], "Missing argument 'SQL'"),
        (["rebuild", "duck"], "'duck' is not one of"),
        (["run", "--config", "missing.toml"], "missing.toml does not exist"),
        (["run", "--data", ""], "a directory has a name"),
        (["demo", "--data", ""], "a directory has a name"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    """Exit 2, one line that says what, nothing on stdout, nothing made."""
    done = run(*arguments, cwd=tmp_path)

    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert done.returncode == 2
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []

"""Variables of the environment: which are ours, and what becomes of the others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pypistream.cli import app
from pypistream.environment import KNOWN, PREFIX, check_environment
from schemas.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_every_option_that_reads_a_variable_has_it_known() -> None:
    """Of every command; and nothing is known that nobody reads."""
    context = click.Context(app)
    read = {
        str(parameter.envvar)
        for name in app.list_commands(context)
        for parameter in _options(name, context)
        if parameter.envvar
    }

    beside = {"KAFKA_PASSWORD", "LOG"}  # in no option
    assert {PREFIX + name for name in KNOWN - beside} == read


def _options(name: str, context: click.Context) -> list[click.Parameter]:
    command = app.get_command(context, name)
    assert command is not None
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [each for one in (command, *below) for each in one.params]


def test_no_variable_of_the_repository_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of compose, of the tests, of the benchmarks: all are known, and nothing is said."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    texts = [
        (ROOT / path).read_text()
        for path in listed
        if path.endswith((".yaml", ".md", "Makefile", ".env", "conftest.py"))
        or (
            path.startswith(("tests/support", "benchmarks/", ".ci/", "scripts/"))
            and path.endswith(".py")
        )
    ]
    found = {
        name for text in texts for name in re.findall(r"PYPISTREAM_[A-Z][A-Z_]*[A-Z](?!\w)", text)
    }

    check_environment(dict.fromkeys(found, ""))
    assert len(found) > 30
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("PYPISTREAM_INCLDE", "PYPISTREAM_INCLUDE"),
        ("PYPISTREAM_LEAVEOUT", "PYPISTREAM_LEAVE_OUT"),
        ("PYPISTREAM_data", "PYPISTREAM_DATA"),
        ("PYPISTREAM_KAFKA_PASSWORT", "PYPISTREAM_KAFKA_PASSWORD"),
        ("PYPISTREAM_DUMPS_EVERY", "PYPISTREAM_DUMP_EVERY"),
    ],
)
def test_a_misspelt_variable_is_refused_with_what_was_meant(variable: str, meant: str) -> None:
    """Who has it unheard fetches all of PyPI, or keeps what was to be left out."""
    with pytest.raises(UsageError, match=f"{variable} in the environment") as refused:
        check_environment({variable: "x"})

    assert f"did you mean {meant}?" in refused.value.hint


@pytest.mark.parametrize(
    "variable",
    [
        *("PYPISTREAM_SERVICE_HOST", "PYPISTREAM_SERVICE_PORT_WEB", "PYPISTREAM_PORT"),
        *("PYPISTREAM_PORT_8000_TCP", "PYPISTREAM_PORT_8000_TCP_PROTO"),
        *("PYPISTREAM_KAFKA_PORT", "PYPISTREAM_KAFKA_SERVICE_HOST", "PYPISTREAMS_DATA", "PATH"),
    ],
)
def test_what_kubernetes_or_another_program_sets_is_no_matter(
    variable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service called `pypistream` puts such names into every process of its namespace."""
    check_environment({variable: "x"})

    assert capsys.readouterr().err == ""


def test_a_variable_that_is_like_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody's own, perhaps: it ends nothing."""
    check_environment({"PYPISTREAM_OWNER": "x"})

    assert "PYPISTREAM_OWNER in the environment is not a setting" in capsys.readouterr().err


def test_a_form_of_the_log_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="'yaml'"):
        check_environment({"PYPISTREAM_LOG": "yaml"})


def test_a_command_ends_with_2_and_help_comes_all_the_same() -> None:
    environment = {**os.environ, "PYPISTREAM_INCLDE": "django*"}
    program = [sys.executable, "-m", "pypistream", "status"]
    refused = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    helped = subprocess.run(
        [*program, "--help"], capture_output=True, text=True, env=environment, check=False
    )

    assert [2, 0] == [refused.returncode, helped.returncode]
    assert refused.stderr.startswith(
        "Error: PYPISTREAM_INCLDE in the environment is not a setting\n"
    )
    assert "Next:  did you mean PYPISTREAM_INCLUDE?" in refused.stderr

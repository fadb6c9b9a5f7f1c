"""What a person may mistype: exit code 2, what was meant or allowed, and nothing is made."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.process import command, refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--backfil"], "--backfill"),
        (["rnu"], "'run'"),
        (["run", "--poll", "soon"], "--poll"),
        (["run", "--poll", "0"], "poll"),
        (["run", "--in-flight", "17"], "in_flight"),
        (["run", "--partitions", "0"], "partitions"),
        (["follow", "--topic", "journal"], "--topic"),
        (["query"], "SQL"),
        (["upstream", "--port", "99999"], "--port"),
    ],
)
def test_what_was_mistyped(arguments: list[str], says: str, tmp_path: Path) -> None:
    """Exit code 2, and what was meant or allowed; nothing is made."""
    ended = command(*arguments, cwd=tmp_path)

    assert (2, "") == (ended.returncode, ended.stdout), ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        *(["status"], ["follow"], ["query", "SELECT 1"], ["dump"], ["rebuild"], ["serve"]),
        *(["verify"], ["backfill"], ["reconcile"], ["sweep"], ["redact", "a"], ["dead-letters"]),
    ],
)
def test_a_directory_that_is_not_there(arguments: list[str], tmp_path: Path) -> None:
    place = ("--data", str(tmp_path / "none"))
    refused(*arguments, *place, cwd=tmp_path, code=2, says="none", hint="pypistream run")
    assert [] == list(tmp_path.iterdir())


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused("upstream", "--port", port, cwd=tmp_path, code=2, says=port, hint="--port 0")


def test_pypi_itself_without_a_contact(tmp_path: Path) -> None:
    refused("run", "--data", "data", cwd=tmp_path, code=2, says="contact", hint="--contact")
    assert not (tmp_path / "data").exists()

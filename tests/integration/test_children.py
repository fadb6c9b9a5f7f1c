"""A child process that ends each time: three times in a row are enough, and exit 75 says so."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import structlog

from pypistream import restarts
from pypistream.children import serving_child
from pypistream.children.serving_child import ServingChild
from pypistream.children.sinks_child import SinksChild
from pypistream.cli import EXIT_GAVE_UP, invoke
from pypistream.run import apart
from pypistream.settings import Settings
from schemas.errors import NoProgress

EXIT_CODE = 41
BOTH = '{"sink":"duckdb","event":"published"}\n{"sink":"dump","event":"published"}\n'


class Ending:
    """Makes children that write `text` and end; counts them."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.made = 0

    async def start(self) -> asyncio.subprocess.Process:
        """The next one; the last text is that of all later ones."""
        self.made += 1
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        code = f"import sys; sys.stdout.write({text!r}); sys.exit({EXIT_CODE})"
        return await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", code,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two lives."""
    monkeypatch.setattr(restarts, "RESTART_SECONDS", 0.0)
    monkeypatch.setattr(serving_child, "FIRST_SECONDS", 0.0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that nobody asks."""
    with socket.socket() as made:
        yield made


async def test_sinks_that_end_three_times_are_given_up(tmp_path: Path) -> None:
    """Each time a line says so; what is raised names the child's exit code."""
    child = SinksChild(Settings(data=tmp_path), on_event=lambda _: None)
    ending = Ending("")

    with (
        mock.patch.object(child, "_start", ending.start),
        structlog.testing.capture_logs() as lines,
        pytest.raises(NoProgress, match=f"3 times with exit code {EXIT_CODE}"),
    ):
        await child.run()

    assert ending.made == 3
    assert [line["exit_code"] for line in lines] == [EXIT_CODE] * 2


async def test_a_life_in_which_all_published_begins_the_count_anew(tmp_path: Path) -> None:
    """Two that ended, one in which both published, two more: the fifth is the third in a row."""
    child = SinksChild(Settings(data=tmp_path), on_event=lambda _: None)
    ending = Ending("", "", BOTH, "")

    with mock.patch.object(child, "_start", ending.start), pytest.raises(NoProgress):
        await child.run()

    assert ending.made == 5  # the one that worked has ended, too: it is the first of three


async def test_a_service_that_ends_three_times_is_given_up(
    tmp_path: Path, listener: socket.socket
) -> None:
    """The HTTP service, just so."""
    child = ServingChild(Settings(data=tmp_path), listener)
    ending = Ending("")

    with (
        mock.patch.object(child, "_start", ending.start),
        pytest.raises(NoProgress, match="3 times"),
    ):
        await child.run()

    assert ending.made == 3


def test_giving_up_is_exit_75(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor tells by it that a new process may do better."""
    monkeypatch.setattr(apart, "process", mock.Mock(side_effect=NoProgress("gave up")))

    assert invoke(["process"]) == EXIT_GAVE_UP == 75

"""The README's tour is typed in by a test: every command works and shows what is printed there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.topics import Topic
from tests.support.documents_run import (
    SAID,
    Step,
    blocks,
    in_the_background,
    keys_agree,
    on_a_terminal,
    press_ctrl_c,
    shape,
    steps,
    until_there,
)
from tests.support.tools import needs

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
START = "pypistream demo --data tour"
PROMISE = (
    "*Every changelog serial is reflected at least once, a project never goes back, and a sink's"
    " rows move together with its position.*"
)
SKIPPED = [  # what a test must not or need not run; anything else marked so is a mistake
    ("$ make demo", "make itself is tested"),
    ("$ make venv", "they have an environment already"),
    ("$ python3 -m venv", "pip loads packages"),
    ("$ pypistream run --contact", "PyPI itself"),
]


@dataclass(frozen=True)
class Place:
    """A folder in which the tour's demo runs, `pypistream` being the one under test."""

    root: Path
    demo: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The demo as the tour starts it, with its first files there."""
    root = tmp_path_factory.mktemp("readme")
    patch = pytest.MonkeyPatch()
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with in_the_background(START, root) as demo:
        files = (root / "tour/pypi.duckdb", root / "tour/dumps/manifest.json")
        until_there(demo, root / SAID, *files)
        yield Place(root, demo)
    patch.undo()


def _tour(*, stopped: bool) -> list[Step]:
    """Commands before, or after, the demo is ended."""
    found: list[Step] = []
    over = False
    for block in blocks(README):
        over = over or block.stop
        if block.language == "console" and not block.why and over == stopped:
            found += steps(block)
    return found


def test_only_what_must_not_run_is_left_out() -> None:
    """Each left out block says why, and is one that this test knows."""
    left_out = [block for block in blocks(README) if block.why]

    assert len(SKIPPED) == len(left_out)
    for block, (start, why) in zip(left_out, SKIPPED, strict=True):
        assert block.text.startswith(start)
        assert block.why.startswith(why)


def test_the_tour_starts_with_the_command_that_the_fixture_runs() -> None:
    """So the first block is run, too; and no language is there that nothing runs."""
    assert _tour(stopped=False)[0] == Step(START, ())
    assert {"console", "python"} == {block.language for block in blocks(README)}


def _shows(step: Step, root: Path) -> None:
    """Exit code 0, and the same columns, keys or labels."""
    if "zstd" in step.command:
        needs("zstd")

    code, seen = on_a_terminal(step.command, root)

    assert 0 == code, seen
    seen = [line for line in seen if not line.startswith(("waiting for", "a process runs"))]
    assert keys_agree(shape(step.shown), shape(seen)), (step.shown, seen)


@pytest.mark.parametrize("step", _tour(stopped=False)[1:], ids=lambda step: step.command[:50])
def test_a_command_shows_what_the_readme_shows(step: Step, place: Place) -> None:
    """While the demo runs."""
    _shows(step, place.root)


def test_the_python_blocks_run(place: Place) -> None:
    """In a process of their own, in the folder of the tour."""
    for block in blocks(README):
        if block.language == "python":
            done = subprocess.run(
                [sys.executable, "-c", block.text],
                cwd=place.root, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert 0 == done.returncode, done.stderr
            assert "dependency" in done.stdout


def test_what_the_demo_says_to_paste_works(place: Place) -> None:
    """The three commands, as a shell in another directory gets them."""
    needs("zstd")
    said = (place.root / SAID).read_text()
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]

    assert 3 == len(commands), said
    for command in commands:
        code, seen = on_a_terminal(command, Path("/"))
        assert 0 == code, seen
        assert seen


def test_the_tour_goes_on_after_ctrl_c(place: Place) -> None:
    """The demo ends with 0, and what comes after it in the README works without it."""
    press_ctrl_c(place.demo)

    last = _tour(stopped=True)
    assert any(step.command.startswith("pypistream rebuild") for step in last)
    for step in last:
        _shows(step, place.root)


def test_the_promise_is_word_for_word() -> None:
    """In one sentence, in italics, not weakened and not embellished; and no bare claim of more."""
    text = " ".join(README.read_text(encoding="utf-8").split())

    assert PROMISE in text
    assert "exactly once" not in text.lower().replace("-", " ")


def test_the_readme_names_every_topic_and_links_to_what_is_there() -> None:
    """No topic is forgotten, no link leads nowhere."""
    text = README.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]

    assert [] == [topic.value for topic in Topic if f"`{topic.value}`" not in text]
    assert [] == [link for link in links if not (ROOT / link).exists()]
    assert len(links) > 5

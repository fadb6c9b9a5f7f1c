"""What the pages under docs/ say to type works on a directory that the program built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from scripts.duckdb_reference import PAGE as REFERENCE
from scripts.duckdb_reference import page
from sinks.publication import VERSIONS
from tests.support.documents_run import Block, blocks
from tests.support.process import command
from tests.support.standin import standin
from tests.support.world_changes import rest
from upstream.standin.settings import StandinSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "duckdb.md"
PROJECTS = 300  # with the seed below each query of the page has something to show
SEED = 1
CHANGES = ("remove-project", "create", "release", "yank")
QUERIES_MIN = 12
SQL = [block for block in blocks(PAGE) if block.language == "sql"]
PYTHON = [block for block in blocks(DOCS / "dumps.md") if block.language == "python"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data directory `DIR`: a backfill, then changes that the page asks about."""
    root = tmp_path_factory.mktemp("docs")
    settings = StandinSettings(projects=PROJECTS, seed=SEED, sizes="small")
    with standin(settings) as site:
        quick = ("--upstream", site.url, "--rate", "0", "--poll", "1", "--settle", "0")
        arguments = ("run", "--data", "DIR", *quick, "--once", "--once-wait", "2")
        for more in (("--backfill",), ()):
            done = command(*arguments, *more, cwd=root)
            assert 0 == done.returncode, done.stderr
            if more:
                for kind in CHANGES:
                    site.change(kind)
                rest(site)
    return root


def test_there_are_a_dozen_queries() -> None:
    assert len(SQL) >= QUERIES_MIN


@pytest.mark.parametrize("block", SQL, ids=lambda block: f"line-{block.line}")
def test_a_query_of_the_page_has_an_answer(block: Block, built: Path) -> None:
    """It runs on the published file, and finds something."""
    with duckdb.connect(str(built / "DIR/pypi.duckdb"), read_only=True) as connection:
        rows = connection.execute(block.text).fetchall()

    assert rows


def test_the_command_answers_the_same_queries(built: Path) -> None:
    """`pypistream query`, with everything that it does not allow, allows these."""
    for block in SQL:
        done = command("query", "--data", "DIR", block.text, "--format", "csv", cwd=built)
        assert 0 == done.returncode, done.stderr
        assert len(done.stdout.splitlines()) > 1


def test_the_page_agrees_with_a_published_file(built: Path) -> None:
    """Not only with an empty database: the comments are in what users open."""
    text = REFERENCE.read_text(encoding="utf-8")
    with duckdb.connect(str(built / "DIR/pypi.duckdb"), read_only=True) as connection:
        assert page(connection) == text


def test_the_python_for_dumps_reads_every_line(built: Path) -> None:
    """To the last frame, which is the trap that the page warns of."""
    lines, _, _ = PYTHON
    counting = lines.text.rstrip() + "\n        seen.append(package['name'])\nprint(len(seen))\n"

    assert rows(built, "projects") == int(python(built, f"seen = []\n{counting}"))


def test_the_python_for_tables_reads_every_row(built: Path) -> None:
    """The tables come with a dump that is asked for."""
    done = command("dump", "--data", "DIR", cwd=built)
    assert 0 == done.returncode, done.stderr
    _, tables, _ = PYTHON
    told = python(built, f"{tables.text}\nprint(len(files), len(latest))")

    assert [rows(built, "files"), rows(built, "latest")] == [int(each) for each in told.split()]


def test_the_python_for_downloads_finds_what_is_damaged(built: Path) -> None:
    """Nothing is said of a whole dump."""
    _, _, verify = PYTHON
    assert not python(built, verify.text)

    damaged = shutil.copytree(built / "DIR/dumps", built / "damaged/dumps")
    with (damaged / "state.jsonl.zst").open("ab") as file:
        file.write(b"x")
    shutil.rmtree(damaged / VERSIONS)
    with pytest.raises(AssertionError, match="DumpCorrupt"):
        python(built, verify.text, folder="damaged")


def python(built: Path, program: str, folder: str = "DIR") -> str:
    """What it prints, run in the data directory or in another `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=built / folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def rows(built: Path, table: str) -> int:
    """Of the published file."""
    with duckdb.connect(str(built / "DIR/pypi.duckdb"), read_only=True) as connection:
        [(count,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)

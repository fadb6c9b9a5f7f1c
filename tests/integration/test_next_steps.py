"""What a person is told who has just begun: what is held, and what to do next."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypistream.data_dir import DataDir
from tests.support.process import answered, command, refused, started, status
from tests.support.standin import Running, standin

PROJECTS = 40
SECONDS_MAX = 60.0
ONCE = ("--once", "--once-wait", "0")
COUNT = "SELECT count(*) AS projects FROM projects"


@pytest.fixture(scope="module")
def site() -> Iterator[Running]:
    """Upstream, where nothing changes."""
    with standin(projects=PROJECTS, changes_per_second=0) as running:
        yield running


def run(site: Running, *more: str) -> tuple[str, ...]:
    flags = ("--data", "d", "--rate", "0", "--poll", "1", "--settle", "0.2", "--sweep-every", "0")
    return ("run", *flags, "--upstream", site.url, *more)


def test_a_filter_that_the_directory_remembers_is_said_at_the_start(
    site: Running, tmp_path: Path
) -> None:
    """Else a backfill on it would look like all of PyPI; another filter is refused in words."""
    narrow = command(*run(site, *ONCE, "--include", "loopback-*"), cwd=tmp_path)
    again = command(*run(site, *ONCE), cwd=tmp_path)
    other = refused(
        *run(site, *ONCE, "--include", "a*", "--exclude", "ab*"),
        cwd=tmp_path,
        code=1,
        says="this log was made for only loopback-*, asked for is only a*, without ab*",
        hint="use a new --data directory",
    )

    assert narrow.returncode == again.returncode == 0, again.stderr
    begun = [line for line in again.stderr.splitlines() if "following from serial" in line]
    assert [line.endswith(", only loopback-*") for line in begun] == [True]
    assert "Filter(" not in other


def test_what_a_bootstrap_has_loaded_is_made_a_duckdb_file_offline(
    site: Running, tmp_path: Path
) -> None:
    """The command that it names at its end, and `query` where there is none, needs no upstream."""
    crawled = command(*run(site, *ONCE, "--backfill"), cwd=tmp_path)
    loaded = command("bootstrap", "d/dumps", "--data", "boot", cwd=tmp_path)
    asked = refused(
        *("query", "--data", "boot", COUNT),
        cwd=tmp_path,
        code=2,
        says="no snapshot in boot yet",
        hint="`pypistream rebuild duckdb --data boot`",
    )
    named = loaded.stdout.splitlines()[-1].split("`")[1]
    rebuilt = command(*shlex.split(named)[1:], cwd=tmp_path)
    answer = command("query", "--data", "boot", COUNT, cwd=tmp_path)

    assert crawled.returncode == loaded.returncode == 0, loaded.stderr
    assert named == f"pypistream rebuild duckdb --data {tmp_path / 'boot'}"
    assert "run" in asked
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert json.loads(answer.stdout)["projects"] > PROJECTS / 2


def test_a_dump_makes_no_duckdb_file(site: Running, tmp_path: Path) -> None:
    """As its help says: it brings the one that is there up to date."""
    crawled = command(*run(site, *ONCE, "--backfill"), cwd=tmp_path)
    place = DataDir(tmp_path / "d").snapshot
    before = place.stat().st_mtime_ns
    again = command("dump", "--data", "d", cwd=tmp_path)
    after = place.stat().st_mtime_ns
    place.unlink()
    bare = command("dump", "--data", "d", cwd=tmp_path)

    assert crawled.returncode == again.returncode == bare.returncode == 0, bare.stderr
    assert after > before
    assert not place.exists()


def test_without_a_backfill_it_is_said_what_gives_a_watermark(
    site: Running, tmp_path: Path
) -> None:
    """Where a `run` begins, and where a script asks for the lag and gets exit 3 for ever."""
    with started(*run(site), cwd=tmp_path) as program:
        program.until(lambda: "--backfill fetches every project" in program.text(), SECONDS_MAX)
        stale = command("status", "--data", "d", "--max-lag", "60", cwd=tmp_path)
        assert program.stop() == 0, program.text()
    with started(*run(site, "--backfill"), cwd=tmp_path, name="filled") as program:
        program.until(lambda: status(tmp_path / "d")["watermark"], SECONDS_MAX, "watermark")
        fresh = command("status", "--data", "d", "--max-lag", "3600", cwd=tmp_path)
        assert program.stop() == 0, program.text()

    assert stale.returncode == 3
    assert "stale: the watermark is null; this log has no backfill" in stale.stderr
    assert "`pypistream run --backfill`" in stale.stderr
    assert (fresh.returncode, fresh.stderr) == (0, "")
    assert "holds nothing yet" not in program.text()


def test_what_cannot_be_taken_back_is_asked_first_on_a_terminal(
    site: Running, tmp_path: Path
) -> None:
    """Of every project: a no changes nothing, `--yes` is not asked, nor is a script."""
    crawled = command(*run(site, *ONCE, "--backfill"), cwd=tmp_path)
    redact = ("redact", "--data", "d", "--field")

    def at_terminal(*more: str, answer: bytes = b"") -> tuple[int, str]:
        return answered(*redact, *more, question="[y/N]", answer=answer, cwd=tmp_path)

    no = at_terminal("author_email", answer=b"n\n")
    before = filled(tmp_path)
    yes = at_terminal("author_email", answer=b"y\n")
    after = filled(tmp_path)
    unasked = at_terminal("author", "--yes")
    script = command(*redact, "summary", cwd=tmp_path)

    assert crawled.returncode == no[0] == yes[0] == unasked[0] == script.returncode == 0
    assert "Leave author_email of every project out for ever" in no[1]
    assert "nothing was changed" in no[1]
    assert before["author_email"] > after["author_email"] == 0
    assert "[y/N]" not in unasked[1] + script.stderr
    assert set(filled(tmp_path).values()) == {0}


def filled(cwd: Path) -> dict[str, int]:
    """How many projects have each of these fields."""
    fields = ("author_email", "author", "summary")
    sql = ", ".join(f"count({each}) AS {each}" for each in fields)
    asked = command("query", "--data", "d", f"SELECT {sql} FROM projects", cwd=cwd)
    found: dict[str, int] = json.loads(asked.stdout)
    return found


def test_a_sweep_that_nobody_serves_says_what_to_start(site: Running, tmp_path: Path) -> None:
    """At once; it goes on to wait, and ends when whoever was started has fetched them."""
    crawled = command(*run(site, *ONCE, "--backfill"), cwd=tmp_path)
    with started("sweep", "--data", "d", "--once", cwd=tmp_path, name="sweep") as sweep:
        told = "nobody processes this log now: `pypistream run --data d` fetches"
        sweep.until(lambda: told in sweep.text(), SECONDS_MAX, "hint")
        with started(*run(site), cwd=tmp_path) as program:
            assert sweep.wait(SECONDS_MAX) == 0, sweep.text()
            served = command("sweep", "--data", "d", "--once", cwd=tmp_path)
            assert program.stop() == 0, program.text()

    assert crawled.returncode == served.returncode == 0, served.stderr
    assert "nobody" not in served.stderr


def test_what_is_not_published_when_a_run_is_stopped_is_named(
    site: Running, tmp_path: Path
) -> None:
    """The first snapshot is of an empty log, and the next is not due: the log has what came."""
    slow = ("--snapshot-every", "600", "--dump-every", "600")
    with started(*run(site, "--backfill", *slow), cwd=tmp_path) as program:
        program.until(lambda: "following from" in program.text(), SECONDS_MAX, "log")
        program.until(lambda: status(tmp_path / "d")["watermark"], SECONDS_MAX, "watermark")
        assert program.stop() == 0, program.text()
    stopped, told = program.text().splitlines()[-2:]
    named = re.findall("`(.*?)`", told)
    published = command(*shlex.split(named[0])[1:], cwd=tmp_path)
    answer = command("query", "--data", "d", COUNT, cwd=tmp_path)

    assert "; the next run goes on from there" in stopped
    assert told.startswith("what was fetched ")
    assert " is in the log: the next run publishes it at once" in told
    assert published.returncode == 0, published.stderr
    assert json.loads(answer.stdout)["projects"] > PROJECTS / 2
    with started(*run(site, *slow), cwd=tmp_path, name="idle") as program:
        program.until(lambda: "projects up to date" in program.text(), SECONDS_MAX, "line")
        assert program.stop() == 0, program.text()
    assert "is in the log" not in program.text()

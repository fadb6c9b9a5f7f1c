"""PyPI is crawled once for many: A crawls, B follows A over HTTP, C begins with A's dump."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.bootstrap_world import FILES
from tests.support.process import Program, command, started, status
from tests.support.published import assert_none, dump_differences, query, read_dump, truths
from tests.support.standin import Running, standin
from tests.support.world_changes import rest
from upstream.standin.settings import StandinSettings

PROJECTS = 200
SECONDS_MAX = 300.0
PUBLISH = ("--dump-every", "1", "--snapshot-every", "1", "--poll", "1")
QUICK = ("--rate", "0", "--settle", "0.3")


@pytest.mark.timeout(500)
def test_one_crawls_and_two_follow(tmp_path: Path, seed: int) -> None:
    """B holds what A holds, byte for byte, through changes, removals and a kill; C is true, too."""
    settings = StandinSettings(
        projects=PROJECTS, seed=seed % 1000, sizes="small", changes_per_second=10
    )
    with standin(settings) as site:
        crawl = ("run", "--data", "a", "--upstream", site.url, *QUICK, *PUBLISH)
        with started(
            *crawl, "--backfill", "--http", "127.0.0.1:0", cwd=tmp_path, name="a"
        ) as crawler:
            url = _address(crawler)
            crawler.until(lambda: _manifest(tmp_path / "a"), SECONDS_MAX, "dump")
            follow = ("bootstrap", url, "--follow", "--data", "b", *PUBLISH)
            with started(*follow, cwd=tmp_path, name="b1") as follower:
                follower.until(
                    lambda: follower.text().count("delta of") >= 3, SECONDS_MAX, "deltas"
                )
                follower.kill()
            site.change("remove-project", site.served_names()[3])
            with started(*follow, cwd=tmp_path, name="b2") as follower:
                follower.until(lambda: "delta of" in follower.text(), SECONDS_MAX, "deltas")
                rest(site)
                _until_equal(crawler, follower, site, tmp_path)
                assert follower.stop() == 0, follower.text()
                assert "stopped; the same command goes on from there" in follower.text()
            _assert_kept(tmp_path)
            _assert_third(site, tmp_path)
            assert crawler.stop() == 0, crawler.text()


def _address(crawler: Program) -> str:
    found = crawler.until(
        lambda: re.search(r"^http (http://127\.0\.0\.1:[0-9]+)", crawler.text(), re.MULTILINE),
        *(60, "address"),
    )
    assert found is not None
    return f"{found[1]}/dumps/"


def _manifest(data: Path) -> bool:
    return (data / "dumps" / "manifest.json").exists()


def _files(data: Path) -> dict[str, bytes]:
    return {name: (data / "dumps" / name).read_bytes() for name in FILES}


def _rows(data: Path, sql: str) -> list[tuple[Any, ...]]:
    return query(data / "pypi.duckdb", sql)


def _until_equal(crawler: Program, follower: Program, site: Running, root: Path) -> None:
    """Upstream is at rest: A gets there, and B after it."""
    serial = site.control("serial")["serial"]

    a, b = root / "a", root / "b"
    names = "SELECT name, version, serial, event_serial, fetched_at FROM projects ORDER BY name"

    def there() -> bool:
        """The same claim, the same dump, the same rows."""
        if _files(a) != _files(b):
            return False
        theirs, ours = status(a)["watermark"], status(b)["watermark"]
        return (theirs or 0) >= serial and theirs == ours and _rows(a, names) == _rows(b, names)

    follower.until(there, SECONDS_MAX, "same dump")
    assert crawler.alive


def _assert_kept(root: Path) -> None:
    """It holds something now: without --follow or --replace it is left alone."""
    third = command("bootstrap", str(root / "a"), "--data", "b", cwd=root)
    assert third.returncode == 1
    assert "holds something already" in third.stderr


def _assert_third(site: Running, root: Path) -> None:
    """C goes on from A's watermark, and fetches what has changed since, no more."""
    loaded = command("bootstrap", str(root / "a" / "dumps"), "--data", "c", cwd=root)
    assert loaded.returncode == 0, loaded.stderr
    for name in site.served_names()[5:10]:
        site.change("role", name)
    site.change("remove-project", site.served_names()[20])
    run = ("run", "--data", "c", "--upstream", site.url, "--contact", "c@site.test", *QUICK)
    ended = command(*run, "--once", "--once-wait", "1", cwd=root)
    assert ended.returncode == 0, ended.stderr
    asked = [each for each in site.control("requests?since=0") if "c@site" in each["user_agent"]]
    assert 6 <= len(asked) < PROJECTS / 2
    assert_none(dump_differences(read_dump(root / "c"), truths(site.ask("/_control/truth").body)))

"""The sweep in the real program: what no row tells, and what a lie left behind, is mended by it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pypistream.data_dir import DataDir
from tests.support.fault_events import all_truth, last_serial
from tests.support.fault_scenes import LIES
from tests.support.process import Program, command, started, status
from tests.support.published import Dump, read_dump
from tests.support.standin import Running, standin
from tests.support.truth import Judge, Wrong

PROJECTS = 60
PERIOD = 3  # seconds of a round
SECONDS_MAX = 240.0  # each step takes a few seconds on an idle machine
RUN = (
    "run", "--data", "d", "--rate", "0", "--poll", "1", "--settle", "0.2", "--snapshot-every", "1",
    "--dump-every", "1", "--backfill",
)  # fmt: skip
SILENT = ("vulnerability", "organization", "new-shape")


def _wrong(site: Running, data: Path) -> Wrong:
    """Names that dump and DuckDB file do not show as they are upstream."""
    dump: Dump | None = None
    with contextlib.suppress(FileNotFoundError, AssertionError):  # not yet, or just replaced
        dump = read_dump(data)
    if dump is None or not DataDir(data).snapshot.exists():
        return {"": "not published yet"}
    judge = Judge(all_truth(site))
    return judge.snapshot(DataDir(data).snapshot) | judge.dump(dump)


def _until(program: Program, wanted: Callable[[], Wrong], what: str) -> None:
    """Wait until nothing is wrong; fails with what still is."""
    end = time.monotonic() + SECONDS_MAX
    while wrong := wanted():
        assert program.alive, program.text()
        assert time.monotonic() < end, f"{what}: {list(wrong.items())[:3]}"
        time.sleep(0.25)


def _has_open(program: Program, name: str) -> bool:
    files = psutil.Process(program.process.pid).open_files()
    return any(Path(file.path).name == name for file in files)


def _not_modified(site: Running) -> int:
    answers: dict[str, int] = site.control("stats")["requests"].get("json", {})
    return answers.get("304", 0)


@pytest.mark.timeout(800)
def test_what_writes_no_row_reaches_dump_and_file_and_a_restart_goes_on(tmp_path: Path) -> None:
    """Serials stay as they are; all others answer 304; `status` says how far a round is."""
    data = tmp_path / "d"
    with standin(projects=PROJECTS, changes_per_second=0) as site:
        run = (*RUN, "--upstream", site.url)
        with started(*run, "--sweep-every", str(PERIOD), cwd=tmp_path) as program:
            _until(program, lambda: _wrong(site, data), "backfill")
            serial, names, before_them = last_serial(site), site.served_names(), read_dump(data)
            for number, name in enumerate(names[:12]):
                site.change(SILENT[number % len(SILENT)], name)
            assert last_serial(site) == serial
            assert Judge(all_truth(site)).dump(before_them)
            _until(program, lambda: _wrong(site, data), "silent changes")
            assert last_serial(site) == serial
            others = len(names) - 12  # by name, these come later in the round
            program.until(lambda: _not_modified(site) >= others, SECONDS_MAX, "whole round")
            sweep = status(data)["sweep"]
            shown = command("status", "--data", "d", cwd=tmp_path).stdout
            assert " changes found" in shown
            assert program.stop(signal.SIGTERM) == 0, program.text()
        assert (sweep["every"], sweep["names"]) == (PERIOD, len(names))
        assert sweep["round"] >= 1

        before = status(data)["sweep"]
        with started(*run, "--sweep-every", "100000", cwd=tmp_path) as program:
            program.until(lambda: "following from serial" in program.text(), SECONDS_MAX, "start")
            time.sleep(2)
            after = status(data)["sweep"]
            assert after["round"] in (before["round"], before["round"] + 1)
            assert after["asked"] >= before["asked"] or after["round"] > before["round"]

            site.change("organization", names[20])
            once = command("sweep", "--data", "d", "--once", cwd=tmp_path)
            assert once.returncode == 0, once.stderr
            assert f"of {len(names)} projects" in once.stderr
            _until(program, lambda: _wrong(site, data), "sweep --once")
            with started("sweep", "--data", "d", cwd=tmp_path, name="beside") as beside:
                beside.until(lambda: _has_open(beside, "log.sqlite"), SECONDS_MAX, "log")
                time.sleep(0.5)  # any moment will do, once it listens to signals
                assert beside.stop(signal.SIGTERM, 10) == 0, beside.text()
                assert "Traceback" not in beside.text()
            assert program.stop(signal.SIGTERM) == 0, program.text()


def test_without_a_log_it_says_how_to_start(tmp_path: Path) -> None:
    """Nothing would serve the asks."""
    ended = command("sweep", "--data", "d", cwd=tmp_path)

    assert ended.returncode == 2
    assert "Next:  start with `pypistream run" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(800)
def test_where_roles_are_apart_the_writer_of_the_journal_sweeps(tmp_path: Path) -> None:
    """`produce` asks, `process` fetches; the rate that `produce` keeps for itself is not stored."""
    data = tmp_path / "d"
    flags = ("--data", "d", "--rate", "40", "--poll", "1")
    with standin(projects=PROJECTS, changes_per_second=0) as site:
        with started(*RUN, "--upstream", site.url, "--sweep-every", "0", cwd=tmp_path) as program:
            _until(program, lambda: _wrong(site, data), "backfill")
            assert status(data)["sweep"] is None
            assert program.stop(signal.SIGTERM) == 0, program.text()
        site.change("organization", site.served_names()[7])
        with (
            started("process", *flags, cwd=tmp_path, name="process") as process,
            started(
                *("produce", "--data", "d", "--sweep-every", str(PERIOD)),
                cwd=tmp_path, name="produce", environment={"PYPISTREAM_RATE": "40"},
            ) as produce,
            started("sink", "duckdb", "--data", "d", cwd=tmp_path, name="duckdb"),
            started("sink", "dump", "--data", "d", cwd=tmp_path, name="dump"),
        ):  # fmt: skip
            _until(process, lambda: _wrong(site, data), "silent change")
            assert produce.stop(signal.SIGTERM) == 0, produce.text()
            assert process.stop(signal.SIGTERM) == 0, process.text()
        assert status(data)["sweep"]["every"] == PERIOD
        assert DataDir(data).stored()["rate"] == 40


@pytest.mark.timeout(800)
def test_every_lie_that_was_believed_is_mended(tmp_path: Path) -> None:
    """The six kinds of docs/faults.md, each about other projects, and no change after healing."""
    data = tmp_path / "d"
    with standin(projects=PROJECTS, changes_per_second=0) as site:
        site.fault("index-lacks")
        run = (*RUN, "--upstream", site.url, "--sweep-every", str(PERIOD))
        with started(*run, cwd=tmp_path) as program:
            lied: dict[str, str] = {}
            _until(program, lambda: _without_watermark(data), "watermark")
            unknown = set(site.served_names()) - read_dump(data).states.keys()
            assert unknown
            lied |= dict.fromkeys(unknown, "index-lacks")
            lied |= _lie(site, sorted(set(site.served_names()) - unknown))
            assert set(lied.values()) == LIES.keys()
            _until(program, lambda: {} if _wrong(site, data).keys() >= lied.keys() else {"": ""},
                   "belief")  # fmt: skip
            site.heal()
            serial = last_serial(site)

            asked = command("reconcile", "--data", "d", cwd=tmp_path)
            assert asked.returncode == 0, asked.stderr
            _until(program, lambda: _wrong(site, data), "mending")
            assert last_serial(site) == serial
            assert program.stop(signal.SIGTERM) == 0, program.text()


def _without_watermark(data: Path) -> Wrong:
    """Nothing, once a dump has one."""
    with contextlib.suppress(FileNotFoundError, AssertionError):
        if read_dump(data).manifest["watermark"]:
            return {}
    return {"": "no watermark"}


def _lie(site: Running, names: list[str]) -> dict[str, str]:
    """Switch lies on, each for some projects, which change then; by name which lie it is."""
    truth = all_truth(site)
    headless = [name for name in names if "last_serial" not in (truth[name].document or {})]
    others = [name for name in names if name not in headless]
    lied: dict[str, str] = {}
    for kind in LIES.keys() - {"index-lacks"}:
        of = headless if kind == "header-serial" else others
        for _ in range(2):
            name = of.pop()
            site.fault(kind, project=name, route="json")
            site.change("role", name)
            lied[name] = kind
    return lied

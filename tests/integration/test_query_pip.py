"""What a query calls the best file is what a real pip takes, from an index on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from packaging.tags import sys_tags

from sinks.http import queries
from tests.support.http_served import served
from tests.support.http_world import client_of
from tests.support.pip_index import Index

SEED = 20_261_121  # which projects come out is of no matter, that it is the same ones is


class Machine(NamedTuple):
    """The environment as a query has it and as options of pip."""

    query: dict[str, Any]
    options: tuple[str, ...]


def this_machine() -> Machine:
    """The interpreter that runs the tests, told by its best platform."""
    best = next(tag.platform for tag in sys_tags() if not tag.platform.startswith("linux_"))
    return Machine({"python": platform.python_version(), "platform": [best]}, ())


def other_machine(python: str, word: str) -> Machine:
    """An interpreter elsewhere; of its dependencies pip would say what holds for this one."""
    options = ("--no-deps", "--target", "away", "--python-version", python, "--platform", word)
    return Machine({"python": python, "platform": [word]}, (*options, "--implementation", "cp"))


MACHINES = (
    pytest.param(this_machine, id="here"),
    pytest.param(lambda: other_machine("3.9", "win_amd64"), id="windows"),
    pytest.param(lambda: other_machine("3.12.1", "macosx_14_0_arm64"), id="macos"),
)


@pytest.mark.parametrize("machine_of", MACHINES)
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the world is of CPython's tags")
async def test_the_first_file_is_what_pip_would_install(machine_of: Any, tmp_path: Path) -> None:
    """Thirty projects in one batch and one dry run: files, and the dependencies that apply."""
    machine, index = machine_of(), Index(SEED)
    answers = await _ask(index, machine)
    best = {name: each["files"][0] for name, each in answers.items() if each["files"]}
    assert len(index.wanted) // 2 < len(best)

    taken = await _dry_run(index, machine, sorted(best), tmp_path)
    roots = {name: each for name, each in taken.items() if name in index.wanted}
    assert {name: each["filename"] for name, each in best.items()} == roots
    if not machine.options:
        needed = {
            dependency["name"]
            for name, each in answers.items()
            if name in best
            for dependency in each["releases"][best[name]["version"]]["dependencies"] or ()
            if dependency["applies"]
        }
        assert needed
        assert needed == set(taken) - set(roots)


async def _ask(index: Index, machine: Machine) -> dict[str, dict[str, Any]]:
    wanted = [{"project": name, "version": text} for name, text in index.wanted.items()]
    async with client_of(index.library, queries.routes(index.library)) as client:
        answer = await client.post("/v1/query", json={**machine.query, "queries": wanted})
    assert 200 == answer.status_code
    return {each["project"]: each for each in answer.json()["answers"]}


async def _dry_run(index: Index, machine: Machine, names: list[str], at: Path) -> dict[str, str]:
    """File name by project, as pip reports what it would install."""
    downloaded: list[str] = []
    async with served(index.library, index.routes(downloaded)) as address:
        options = ["--dry-run", "--ignore-installed", "--report", "report.json", "--quiet"]
        options += ["--isolated", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
        options += ["--no-build-isolation", "--index-url", f"{address}/simple/", *machine.options]
        wanted = [f"{name}{index.wanted[name]}" for name in names]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pip", "install", *options, *wanted),
            cwd=at,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
    assert 0 == process.returncode, printed.decode()
    assert [] == downloaded
    report = json.loads((at / "report.json").read_bytes())
    return {
        each["metadata"]["name"]: unquote(each["download_info"]["url"].rpartition("/")[2])
        for each in report["install"]
    }

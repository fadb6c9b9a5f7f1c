"""Scenes side by side: some pairs of stand-in and program at once, each test waits for one."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import fault_report
from tests.support.fault_run import Ended, play, prepare
from tests.support.fault_scenes import EXCLUDED, all_kinds, scene_of

SELECTED = "PYPISTREAM_FAULTS"  # `all`; else a third of them
REPORT = "PYPISTREAM_FAULTS_REPORT"  # where to write the table, for `make faults`
SIDE_BY_SIDE = 5  # each pair needs an eighth of a core
SHARE = 3  # `make test` plays every third fault

ended_key = pytest.StashKey[list[Ended]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the kinds: all of them, or a third that the seed draws."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", _kinds())


def _kinds() -> list[str]:
    kinds = all_kinds()
    if os.environ.get(SELECTED) == "all":
        return kinds
    generator = random.Random(int(os.environ["PYPISTREAM_SEED"]))
    return sorted(generator.sample(kinds, -(-len(kinds) // SHARE)), key=kinds.index)


@pytest.fixture(scope="session")
def scenes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> Iterator[dict[str, Future[Ended]]]:
    """What comes of every scene that was collected, by kind."""
    root = tmp_path_factory.mktemp("faults")
    corpus = seed % 1000
    prepared = prepare(root / "prepared", corpus)
    kinds = [
        str(item.callspec.params["kind"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "scenes" in item.fixturenames
    ]
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="scene") as pool:
        yield {
            kind: pool.submit(play, scene_of(kind), root / kind, prepared, corpus) for kind in kinds
        }
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def ended(kind: str, scenes: dict[str, Future[Ended]], pytestconfig: pytest.Config) -> Ended:
    """What came of one scene; kept for the table."""
    found = scenes[kind].result()
    pytestconfig.stash.setdefault(ended_key, []).append(found)
    return found


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table; keep it if it is wanted, whole, and all is well."""
    found = config.stash.get(ended_key, [])
    if not found:
        return
    terminalreporter.section(f"{len(found)} of {len(all_kinds())} faults")
    for line in fault_report.table(found):
        terminalreporter.write_line(line)
    whole = len(found) == len(all_kinds()) and not any(ended.problems for ended in found)
    if whole and os.environ.get(REPORT):
        Path(os.environ[REPORT]).write_text(fault_report.page(found, EXCLUDED))

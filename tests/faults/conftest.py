"""Scenes side by side: some pairs of stand-in and program at once, each test waits for one."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict

import pytest

from tests.support.fault_run import Ended, play, prepare
from tests.support.fault_scenes import all_kinds, scene_of
from tests.support.fault_summary import ENDED

SELECTED = "PYPISTREAM_FAULTS"  # `all`; else a third of them
SIDE_BY_SIDE = 6  # each pair needs an eighth of a core
SHARE = 3  # `make test` plays every third fault


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
def ended(
    kind: str,
    scenes: dict[str, Future[Ended]],
    record_property: Callable[[str, object], None],
) -> Ended:
    """What came of one scene; kept for the table, which another process may write."""
    found = scenes[kind].result()
    record_property(ENDED, asdict(found))
    return found

"""A change is in `follow` within seconds, amid a backfill, and published with the next period.

The figures are the benchmark's (`python -m benchmarks.freshness`); here, with fewer projects and on
a machine that has other things to do, only the order is shown in which things come.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import freshness
from tests.support.where import Where, embedded, on_kafka, placed

PROJECTS = 2_500
RATE = 10.0  # a backfill of over four minutes: longer than all this takes
CHANGES = 12
PUBLISH_SECONDS = 4.0


@pytest.fixture(scope="module", params=[embedded(1), on_kafka(4)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


@pytest.fixture(scope="module")
def results(
    where: Where, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, freshness.Measured]:
    """Default delays and the shortest ones, side by side on one stand-in, amid a backfill."""
    root = tmp_path_factory.mktemp("freshness")
    wanted = [each for each in freshness.SETTINGS if each.backfill and each.rate]
    settings = [each._replace(rate=RATE) for each in wanted if each.poll in (1, 10)]

    def measured(setting: freshness.Setting) -> freshness.Measured:
        data, log = root / str(setting.poll), where.another(str(setting.poll)).options
        return freshness.measure(url, setting, data, CHANGES, PUBLISH_SECONDS, log)

    with freshness.standin(PROJECTS) as url, ThreadPoolExecutor(len(settings)) as side_by_side:
        found = side_by_side.map(measured, settings)
        return {setting.name: each for setting, each in zip(settings, found, strict=True)}


def test_changes_overtake_the_backfill(results: dict[str, freshness.Measured]) -> None:
    """All of them are seen, while thousands of documents are still to come."""
    for name, found in results.items():
        assert found.seen == found.changes > CHANGES / 2, name
        assert found.backfill_done is not None, "the backfill was over: this shows nothing"
        assert found.backfill_done < PROJECTS, name


def test_changes_are_published_with_the_next_period(
    results: dict[str, freshness.Measured],
) -> None:
    for name, found in results.items():
        for kind, worst in (("snapshot", found.snapshot_worst), ("dump", found.dump_worst)):
            assert worst is not None, f"{name}: a change is in no {kind}"

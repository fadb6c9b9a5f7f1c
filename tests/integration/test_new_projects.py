"""A project that is new: a 404 at the edge and an index of before do not prove that it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.decide import MISSING, Patience
from producers.reconcile import Reconciler
from schemas.records import Reason, Status
from schemas.topics import Topic
from tests.support.history import records_of
from tests.support.in_process import InProcess, in_process
from tests.support.standin import Running, standin
from tests.support.where import Where
from upstream.source import SerialMap

NAME = "brand-new"
OLD_SECONDS = 3600.0  # before the stand-in began: that index knows no new project
ATTEMPTS = 3  # in vain, before the map is looked at and after it
PATIENCE = Patience(
    schedule_seconds=tuple(0.2 * number for number in range(1, 3000)),
    missing_proof_seconds=OLD_SECONDS,  # nothing but the map could prove it
    arrival_grace_seconds=0,
    absent_again_seconds=0.1,
)


async def attempts_in_vain(run: InProcess, count: int) -> int:
    """Wait until so many were answered by a 404."""
    await run.until(
        lambda: run.states[NAME].reason == MISSING and run.states[NAME].attempts >= count, "404s"
    )
    return run.states[NAME].attempts


async def published(run: InProcess, site: Running) -> None:
    """Wait for the document of its newest serial."""
    serial = site.truth(NAME)["serial"]
    await run.until(
        lambda: (
            NAME in run.states
            and run.states[NAME].status is Status.OK
            and run.states[NAME].body == serial
        ),
        "document",
    )


@pytest.mark.parametrize("known", [False, True], ids=["create", "published"])
async def test_create_a_404_and_an_old_map_make_no_tombstone(
    tmp_path: Path, seed: int, *, known: bool
) -> None:
    """Also where its first document is here already, and the edge has lost it since."""
    with standin(projects=20, seed=seed % 1000) as site:
        async with in_process(site, tmp_path, PATIENCE, Where(2)) as run:
            await run.until(lambda: run.mark is not None, "watermark")
            site.fault("index-old", lag_seconds=OLD_SECONDS)
            if known:
                site.change("create", "Brand.New")
                await published(run, site)
            site.fault("spurious-404", project=NAME, route="json")
            site.change(*("release", NAME) if known else ("create", "Brand.New"))
            await run.until(lambda: NAME in run.states, "event")
            made = await attempts_in_vain(run, ATTEMPTS)

            index, pipeline = await run.pipeline.upstream.serial_map(), run.pipeline
            assert isinstance(index, SerialMap)
            assert "Brand.New" not in {project.name for project in index.projects}
            assert index.last_serial < run.states[NAME].event
            assert pipeline.reconciler is not None
            reconciler = Reconciler(pipeline.log, pipeline.clock, pipeline.reconciler.config)
            assert await reconciler.run(index, Reason.RECONCILE) == 0
            await attempts_in_vain(run, made + ATTEMPTS)
            site.heal()
            await published(run, site)
            await run.until_written()
            written = [
                record
                for topic in (Topic.METADATA, Topic.RELEASES)
                for record in await records_of(pipeline.log, topic)
                if record.key == NAME
            ]

    assert len(written) == (4 if known else 2)
    assert [record.key for record in written if record.value is None] == []

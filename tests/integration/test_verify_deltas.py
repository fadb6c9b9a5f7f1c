"""`pypistream verify` and the deltas that lead to the dump: every change since, and no other."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pypistream.children.publishing import rebuild
from pypistream.verify.report import VerifyReport
from tests.support.process import command
from tests.support.published import decompressed
from tests.support.standin import standin
from tests.support.verify_world import World, found, make

Lines = list[bytes]


@pytest.fixture(scope="module", params=[1, 2])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two deltas lie beside the dump: a project changed in both, one was removed."""
    return asyncio.run(_made(tmp_path_factory.mktemp("deltas") / "data", request.param))


async def _made(data: Path, partitions: int) -> World:
    with standin(projects=40, changes_per_second=0) as site:
        world = await make(site, data, partitions)
        first, second, third = site.served_names()[:3]
        for kind, name in (("role", first), ("release", second), ("remove-project", third)):
            site.change(kind, name)
        await world.work()
        await world.publish()
        site.change("release", first)
        await world.work()
        await world.publish()
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A copy to be spoilt."""
    return made.copied(tmp_path / "data")


async def verified(world: World) -> VerifyReport:
    return await world.verify(upstream=False)


def manifest_of(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder_of(world) / "manifest.json").read_bytes())
    return found


def folder_of(world: World) -> Path:
    return world.data / "dumps/deltas"


def alter(world: World, change: Callable[[Lines], Lines]) -> None:
    """Another last delta, with a manifest that fits it."""
    manifest = manifest_of(world)
    last = manifest["deltas"][-1]
    path = folder_of(world) / last["file"]
    lines = change(decompressed(path.read_bytes()).splitlines(keepends=True))
    plain = b"".join(lines)
    raw = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True).compress(plain)
    path.unlink()  # it is a link to the sink's own
    path.write_bytes(raw)
    last |= {
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "rows": len(lines),
        "uncompressed_bytes": len(plain),
    }
    (folder_of(world) / "manifest.json").unlink()
    (folder_of(world) / "manifest.json").write_text(json.dumps(manifest))


async def test_all_that_was_written_since_is_in_them(world: World) -> None:
    """And the command says so."""
    report = await verified(world)

    assert len(manifest_of(world)["deltas"]) == 2
    assert (report.sound, report.deltas.agrees) == (True, True)
    assert report.deltas.watermark == report.dump.watermark
    shown = command("verify", "--data", str(world.data), "--no-upstream", cwd=world.data.parent)
    assert f"deltas: agrees at watermark {report.watermark:,}" in shown.stdout


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda lines: lines[:-1], "missing"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b'"status":"ok"', b'"status":"no"')],
         "other-content"),
    ],
)  # fmt: skip
async def test_a_change_that_lacks_or_is_another(
    world: World, change: Callable[[Lines], Lines], why: str
) -> None:
    """Though file and manifest fit: a follower would not be what this log is."""
    name = json.loads(decompressed(last_file(world).read_bytes()).splitlines()[-1])["name"]
    alter(world, change)
    report = await verified(world)
    differing = {each for each in found(report) if each[1] == "deltas"}

    # Without the last change of a project that has an earlier one, that one is wrong.
    assert differing == {(name, "deltas", "other-content" if why == "missing" else why)}
    assert (report.sound, report.deltas.agrees, report.dump.agrees) == (False, False, True)
    assert report.rebuild == ["dump"]


async def test_a_project_that_no_delta_names(world: World) -> None:
    """The first of them lost all its lines: what it led over is in none."""
    manifest = manifest_of(world)
    first = decompressed((folder_of(world) / manifest["deltas"][0]["file"]).read_bytes())
    names = {json.loads(line)["name"] for line in first.splitlines()}
    last = decompressed(last_file(world).read_bytes())
    again = {json.loads(line)["name"] for line in last.splitlines()}
    manifest["deltas"][1]["from"] = manifest["deltas"][0]["from"]
    del manifest["deltas"][0]
    (folder_of(world) / "manifest.json").unlink()
    (folder_of(world) / "manifest.json").write_text(json.dumps(manifest))
    report = await verified(world)

    assert {name for name, side, _ in found(report) if side == "deltas"} == names - again
    assert {why for _, side, why in found(report) if side == "deltas"} == {"missing"}


async def test_a_damaged_one_is_told_and_a_new_dump_mends_it(world: World) -> None:
    """From then on no delta leads from before it: whoever follows loads the dump anew."""
    path = last_file(world)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)  # the sink's own file is the same one
    damaged = await verified(world)
    assert (damaged.sound, damaged.deltas.agrees) == (False, False)
    assert damaged.deltas.problem
    assert damaged.rebuild == ["dump"]

    given = {"data": world.data, "partitions": world.where.partitions}
    assert await asyncio.to_thread(rebuild, given, "dump") == 0
    mended = await verified(world)
    assert (mended.sound, mended.deltas.agrees) == (True, None)
    assert mended.deltas.note == "none leads to the dump"


def last_file(world: World) -> Path:
    """The newest delta."""
    return folder_of(world) / str(manifest_of(world)["deltas"][-1]["file"])

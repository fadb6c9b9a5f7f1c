"""The checks of `pypistream doctor`. Each returns findings, and does not raise."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pypistream.data_dir import DataDir
from pypistream.health.status_page import size
from pypistream.roles import by_process, holders
from pypistream.settings import Settings
from pypistream.wiring import check_log_wal, log_library, make_upstream
from schemas.errors import PypistreamError
from schemas.manifest import MANIFEST_FILE, Manifest
from sinks.duckdb.check import check_round_trip, check_snapshot, duckdb_version
from sinks.dump.reader import DumpReader

PYTHON_LOWEST = (3, 11)
FREE_BYTES_MIN = 256 * 1024 * 1024  # below this even a small log's next snapshot may not fit
DUMP_BYTES_READ = 256 * 1024 * 1024  # a larger dump is read to its end with --deep only
BUILT = 1_704_067_200  # 2024-01-01: an earlier clock was never set


class Verdict(StrEnum):
    """`note`: nothing is wrong, but it may be of interest."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One line of the report. `todo` is what to do about it."""

    verdict: Verdict
    what: str
    text: str
    todo: str = ""


def failed(what: str, error: PypistreamError) -> Finding:
    """A finding from an error."""
    return Finding(Verdict.PROBLEM, what, str(error), error.hint)


def ok(what: str, text: str) -> Finding:
    """A finding that all is well."""
    return Finding(Verdict.OK, what, text)


def machine(data: DataDir) -> Iterator[Finding]:
    """Python, libraries, disk, clock, tools: everything that does not depend on stored data."""
    yield _python()
    folder = data.state if data.state.is_dir() else None
    try:
        with tempfile.TemporaryDirectory(prefix="doctor-", dir=folder) as scratch:
            yield from _libraries(Path(scratch))
    except OSError as error:
        yield Finding(
            Verdict.PROBLEM,
            "scratch file",
            f"nothing can be written in {folder or tempfile.gettempdir()}: {error.strerror}",
            "check free space, owner and permissions",
        )
    yield _disk(data)
    if time.time() < BUILT:
        yield Finding(
            Verdict.PROBLEM, "clock", "this machine's clock was never set", "set it (NTP)"
        )
    if shutil.which("zstd"):
        yield ok("zstd", "on the PATH, for `zstd -dc` on dumps")
    else:
        yield Finding(
            Verdict.NOTE, "zstd", "no such program: needed only to look into dumps", "install zstd"
        )


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON_LOWEST:
        return Finding(Verdict.PROBLEM, "python", found, "use Python 3.11 or newer")
    return ok("python", found)


def _libraries(scratch: Path) -> Iterator[Finding]:
    try:
        check_log_wal(scratch)
        yield ok("sqlite", f"{log_library()}, WAL mode works")
    except PypistreamError as error:
        yield failed("sqlite", error)
    try:
        check_round_trip(scratch)
        yield ok("duckdb", f"{duckdb_version()}, a snapshot's format can be written and read")
    except PypistreamError as error:
        yield failed("duckdb", error)


def _disk(data: DataDir) -> Finding:
    place = next(path for path in (data.root, *data.root.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    used = sum(
        path.stat().st_size
        for folder in (data.state, data.dumps)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    text = f"{size(free)} free at {place}"
    if free < FREE_BYTES_MIN:
        return Finding(Verdict.PROBLEM, "disk", text, "make room: writing stops on a full disk")
    if free < 2 * used:
        todo = "snapshot and dump are written aside before they replace the old ones: make room"
        return Finding(Verdict.NOTE, "disk", f"{text}; sinks use {size(used)}", todo)
    return ok("disk", text)


def roles(data: DataDir) -> Finding:
    """Which processes run."""
    found = holders(data)
    if not found:
        return ok("processes", "none is running on this directory")
    return ok("processes", by_process(found))


def published(data: DataDir, *, deep: bool) -> Iterator[Finding]:
    """Snapshot and dump, as readers see them."""
    if data.snapshot.exists():
        try:
            yield ok("snapshot", f"opens, {check_snapshot(data.snapshot):,} projects")
        except PypistreamError as error:
            yield failed("snapshot", error)
    else:
        yield Finding(Verdict.NOTE, "snapshot", "not published yet", "a `run` publishes it")
    if not (data.dumps / MANIFEST_FILE).exists():
        yield Finding(Verdict.NOTE, "dump", "not published yet", "a `run` publishes it")
        return
    try:
        yield _dump(DumpReader(data.dumps), deep=deep)
    except PypistreamError as error:
        yield failed("dump", error)


def _dump(reader: DumpReader, *, deep: bool) -> Finding:
    """Raises DumpCorrupt."""
    total = sum(file.bytes for file in reader.manifest.files.values())
    about = f"of {reader.manifest.created}, {size(total)}"
    if deep or total <= DUMP_BYTES_READ:
        reader.verify()
        return ok("dump", f"{about}: every file matches the manifest")
    wrong = _wrong_size(reader.directory, reader.manifest)
    if wrong:
        return Finding(
            Verdict.PROBLEM, "dump", f"{wrong} has another size than the manifest says",
            "pypistream dump",
        )  # fmt: skip
    return ok("dump", f"{about}: sizes match the manifest (--deep reads every byte)")


def _wrong_size(directory: Path, manifest: Manifest) -> str | None:
    for name, file in manifest.files.items():
        path = directory / name
        if not path.exists() or path.stat().st_size != file.bytes:
            return name
    return None


async def upstream(settings: Settings, held: str | None) -> Finding:
    """One request for the journal's last serial, if the user named an upstream.

    `held`: why and how long upstream asked every process to wait.
    """
    if not settings.upstream and not settings.contact:
        return Finding(
            Verdict.NOTE, "upstream", "not asked: PyPI wants a contact", "add --contact MAIL"
        )
    if held is not None:
        return Finding(Verdict.NOTE, "upstream", f"not asked: on hold, {held}", "wait")
    try:
        client = make_upstream(settings, lambda _until, _reason: None)
        try:
            await client.permit()
            serial = await client.last_serial()
        finally:
            await client.close()
    except PypistreamError as error:
        hint = error.hint or "check the network and --upstream"
        return Finding(Verdict.PROBLEM, "upstream", str(error), hint)
    return ok("upstream", f"answers, its last serial is {serial:,}")

"""Where another instance's dump and deltas come from: a folder, or an address."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from pypistream.restarts import first_of
from schemas.errors import DumpCorrupt, NotPublished, UsageError
from schemas.manifest import DELTAS, MANIFEST_BYTES_MAX, MANIFEST_FILE, Delta, DumpFile, Manifest
from sinks.dump.delta_reader import check_schema, delta_manifest
from sinks.dump.reader import DumpReader, read_manifest
from sinks.exported import CARRIED_FILES
from sinks.publication import VERSIONS

if TYPE_CHECKING:
    from schemas.manifest import DeltaManifest
    from upstream.download import Downloads

FILES = ("packages.jsonl.zst", "releases.jsonl.zst", "state.jsonl.zst")

log_ = structlog.get_logger("bootstrap")


class Latest(NamedTuple):
    """What a look found; None = unchanged since the last look, or not there."""

    dump: Manifest | None
    deltas: DeltaManifest | None


class Source(Protocol):
    """Another instance's folder `dumps`. Raises DumpCorrupt, NotPublished, Retriable errors."""

    place: str

    async def reach(self) -> None:
        """Return if there is a dump, raise if not."""
        ...

    async def dump(self) -> DumpReader:
        """The newest dump; the files to load stay available and unchanged until `forget`."""
        ...

    async def look(self) -> Latest:
        """Both manifests, if they have changed."""
        ...

    async def delta(self, delta: Delta) -> Path:
        """That delta's file, available until `forget`."""
        ...

    async def forget(self) -> None:
        """Release what `dump` or `delta` made available."""
        ...

    async def close(self) -> None:
        """Close connections. Idempotent; never raises."""
        ...


def open_source(place: str, work: Path) -> Source:
    """The source `place` names; `work` is a folder for what is downloaded. Raises UsageError."""
    if place.startswith(("http://", "https://")):
        from upstream.download import Downloads  # 0.1 s: a folder needs no HTTP

        url = place.removesuffix(MANIFEST_FILE).rstrip("/")
        return AddressSource(url, Downloads(url), work)
    path = Path(place).absolute()
    if path.name == MANIFEST_FILE:
        path = path.parent
    for folder in (path, path / "dumps"):
        if (folder / MANIFEST_FILE).is_file():
            return FolderSource(folder)
    raise UsageError(
        f"no dump at {place}: there is no {MANIFEST_FILE}",
        hint="give a folder `dumps`, its manifest.json, or the address of either",
    )


class FolderSource:
    """A folder that another instance on this machine publishes into, or a copy of one."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder

    async def reach(self) -> None:
        """Nothing to do: the folder was there when this was made."""

    async def dump(self) -> DumpReader:
        """The newest dump, which the folder keeps until two newer ones have come."""
        return await asyncio.to_thread(DumpReader, self._folder)

    async def look(self) -> Latest:
        """Both manifests, as they are."""
        manifest = await asyncio.to_thread(read_manifest, self._folder / MANIFEST_FILE)
        path = self._folder / DELTAS / MANIFEST_FILE
        try:
            raw = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            return Latest(manifest, None)
        except OSError as error:
            raise DumpCorrupt(f"{path}: {error.strerror}", hint="is this a dump?") from error
        return Latest(manifest, delta_manifest(raw, str(path)))

    async def delta(self, delta: Delta) -> Path:
        """The path of the file."""
        return self._folder / DELTAS / delta.file

    async def forget(self) -> None:
        """Nothing to release."""

    async def close(self) -> None:
        """Nothing to close."""


class AddressSource:
    """Files below a URL, downloaded into `work`."""

    def __init__(self, url: str, downloads: Downloads, work: Path) -> None:
        self.place = url
        self._downloads = downloads
        self._work = work
        self._etags = {MANIFEST_FILE: "", f"{DELTAS}/{MANIFEST_FILE}": ""}

    async def reach(self) -> None:
        """Request the manifest, and discard it."""
        await self._downloads.small(MANIFEST_FILE, MANIFEST_BYTES_MAX, "")

    async def dump(self) -> DumpReader:
        """Download the newest dump; start again if a newer one was published meanwhile."""
        folder = self._work / "dump"
        before = b""
        while True:
            raw = await self._manifest(MANIFEST_FILE, anew=True) or b""
            await asyncio.to_thread(_write, folder, raw)
            manifest = (await asyncio.to_thread(DumpReader, folder)).manifest
            try:
                await self._files(folder, manifest)
                await asyncio.to_thread(_drop_parts, folder)
                return await asyncio.to_thread(DumpReader, folder)
            except DumpCorrupt as error:
                if raw == before:
                    raise
                log_.warning("is there a newer dump?", error=str(error))
                before = raw

    async def look(self) -> Latest:
        """Both manifests, if they have changed."""
        raw = await self._manifest(MANIFEST_FILE)
        manifest = None
        if raw is not None:
            folder = self._work / "look"
            await asyncio.to_thread(_write, folder, raw)
            manifest = await asyncio.to_thread(read_manifest, folder / MANIFEST_FILE)
        name = f"{DELTAS}/{MANIFEST_FILE}"
        deltas = None
        with suppress(NotPublished):
            raw = await self._manifest(name)
            deltas = None if raw is None else delta_manifest(raw, f"{self.place}/{name}")
        return Latest(manifest, deltas)

    async def delta(self, delta: Delta) -> Path:
        """Download it."""
        folder = self._work / DELTAS
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        known = (delta.bytes, delta.sha256)
        await self._downloads.large(f"{DELTAS}/{delta.file}", folder / delta.file, *known)
        return folder / delta.file

    async def forget(self) -> None:
        """Remove what was downloaded."""
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)

    async def close(self) -> None:
        """Close connections."""
        await self._downloads.close()

    async def _manifest(self, name: str, *, anew: bool = False) -> bytes | None:
        etag = "" if anew else self._etags[name]
        found = await self._downloads.small(name, MANIFEST_BYTES_MAX, etag)
        if found is None:
            return None
        self._etags[name] = found.etag
        return found.body

    async def _files(self, folder: Path, manifest: Manifest) -> None:
        """Download all at once: a server goes on sending an open file when a new one comes."""
        check_schema(manifest.schema, f"{self.place}/{MANIFEST_FILE}")
        try:
            async with asyncio.TaskGroup() as tasks:
                for name in FILES:
                    if name in manifest.files:
                        tasks.create_task(self._file(folder, name, manifest))
                for name in CARRIED_FILES:
                    if name in manifest.files:
                        tasks.create_task(self._if_there(folder, name, manifest))
        except BaseExceptionGroup as group:
            raise first_of(group) from None

    async def _if_there(self, folder: Path, name: str, manifest: Manifest) -> None:
        """Download a file that a mirror may have left out."""
        with suppress(NotPublished):
            await self._file(folder, name, manifest)

    async def _file(self, folder: Path, name: str, manifest: Manifest) -> None:
        known: DumpFile = manifest.files[name]
        paths = [name]
        if manifest.version.isdigit():  # kept there longer, but not by every server
            paths.insert(0, f"{VERSIONS}/{manifest.version}/{name}")
        for path in paths[:-1]:
            with suppress(NotPublished):
                await self._downloads.large(path, folder / name, known.bytes, known.sha256)
                return
        await self._downloads.large(paths[-1], folder / name, known.bytes, known.sha256)


def _write(folder: Path, manifest: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST_FILE).write_bytes(manifest)


def _drop_parts(folder: Path) -> None:
    """Remove partial downloads of a dump that a newer one has replaced."""
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)

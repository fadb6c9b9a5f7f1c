"""Publishes files that belong together as one: all of them are replaced at once.

    dumps/.versions/000000012/   one complete dump, never changed: its files and manifest.json
    dumps/<file>                 hard links to the current version's; manifest.json too

A new version is written aside, synced and renamed to its number. Then the plain names are replaced
one by one, `manifest.json` last: it names its version, so that single rename publishes.

What a reader sees: at any moment, also after a kill or on a full disk, `manifest.json` is that of a
complete dump whose files lie unchanged in the version's directory, where they stay until the second
publication after. `DumpReader` reads them there. A reader of the plain names always sees whole
files; only within the 0.1 ms of the renames they may be of two dumps, which the manifest's SHA-256
reveals. A kill at that moment is mended at the next start. (Symbolic links would switch all names
in one rename, but the `zstd` command refuses to read through them.)
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from schemas.codec import NO_JSON
from schemas.manifest import MANIFEST_FILE, Manifest
from sinks.durable import storage, sync_directory, sync_file, write_synced

VERSIONS, ASIDE = ".versions", ".tmp-"
KEPT_VERSIONS = 2  # the current one, and the previous for readers that are still at it

# Why a hard link may be refused: another file system, one without links, or too many links.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)


class Publication:
    """See the module's docstring. Raises DiskFull (what was published stays) and StorageFailed."""

    def __init__(self, root: Path) -> None:
        """Mends and removes what a killed run left behind."""
        with storage(root):
            (root / VERSIONS).mkdir(parents=True, exist_ok=True)
            self._root = root.resolve()
            self._versions = self._root / VERSIONS
            if current := version_of(self._root):
                self._point_at(current)
            self._remove_rubbish()

    def publish(
        self, files: Mapping[str, Path], manifest: Manifest, *, alone: bool = False
    ) -> Path:
        """Make `files` (plain name -> immutable file) and `manifest` the current version.

        Returns the version. The files are linked where possible, so they must not be changed
        afterwards. `alone`: no older version is kept, not even for present readers.
        """
        newest = max((int(path.name) for path in self._complete()), default=0)
        version = self._versions / f"{newest + 1:09}"
        manifest = msgspec.structs.replace(manifest, version=version.name)
        try:
            with storage(self._root):
                self._write(version, files, manifest)
                self._point_at(version)
        finally:
            with suppress(OSError):  # the next publication or start tries again
                self._remove_rubbish(1 if alone else KEPT_VERSIONS)
        return version

    def _write(self, version: Path, files: Mapping[str, Path], manifest: Manifest) -> None:
        aside = self._versions / f"{ASIDE}{version.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for name, source in files.items():
            link(source, aside / name)
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        write_synced(aside / MANIFEST_FILE, text + b"\n")
        sync_directory(aside)
        aside.rename(version)
        sync_directory(self._versions)

    def _point_at(self, version: Path) -> None:
        """Make the plain names those of `version`, the manifest last."""
        names = sorted(path.name for path in version.iterdir() if path.name != MANIFEST_FILE)
        moves = []
        for name in (*names, MANIFEST_FILE):
            source, plain, aside = version / name, self._root / name, self._root / f"{ASIDE}{name}"
            # To rename a link over another one of the same file does nothing, and would leave both.
            if not (plain.exists() and plain.samefile(source)):
                aside.unlink(missing_ok=True)
                link(source, aside)
                moves.append((aside, plain))
        for aside, plain in moves:
            aside.replace(plain)
        before = {path.name for each in self._complete() for path in each.iterdir()}
        for name in before - {*names, MANIFEST_FILE}:  # names that this version does not have
            (self._root / name).unlink(missing_ok=True)
        if moves:
            sync_directory(self._root)

    def _complete(self) -> list[Path]:
        """Versions from old to new; each was complete when it got its number."""
        return sorted(path for path in self._versions.iterdir() if path.name.isdigit())

    def _remove_rubbish(self, kept_versions: int = KEPT_VERSIONS) -> None:
        """Remove what lies aside, versions never published, and versions that are too old."""
        current = version_of(self._root)
        complete = self._complete()
        older = [path for path in complete if current and path < current]
        kept = {current, *older[max(0, len(older) - kept_versions + 1) :]}
        for path in (*self._versions.glob(f"{ASIDE}*"), *(p for p in complete if p not in kept)):
            shutil.rmtree(path, ignore_errors=True)
        for path in self._root.glob(f"{ASIDE}*"):
            path.unlink()


class _Version(msgspec.Struct):
    version: str = ""


_version = msgspec.json.Decoder(_Version)


def version_of(root: Path) -> Path | None:
    """The directory of the version that `root`'s manifest names; None if it does not exist.

    A downloaded copy has none: its files lie beside its manifest.
    """
    try:
        name = _version.decode((root / MANIFEST_FILE).read_bytes()).version
    except (OSError, *NO_JSON):
        return None
    version = root / VERSIONS / name
    return version if name.isdigit() and version.is_dir() else None


def link(source: Path, target: Path) -> None:
    """Give an immutable file another name; copy it where links are impossible."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        with source.open("rb") as original, target.open("wb") as copy:
            shutil.copyfileobj(original, copy)
            sync_file(copy)

"""`dumps/deltas/`: the changes from one dump to the next, and their manifest.

Files are there before the manifest that names them, and are removed an hour after the last one that
does, so a reader of a manifest can open everything it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from schemas.manifest import MANIFEST_FILE, DeltaManifest
from sinks.durable import storage, sync_directory, write_synced
from sinks.publication import ASIDE, link


class DeltaFolder:
    """The published deltas. Raises DiskFull (what was published stays) and StorageFailed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, files: Mapping[str, Path], manifest: DeltaManifest) -> None:
        """Publish just these `files` (name -> immutable file), and `manifest`, which names some.

        Idempotent: a call that was ended by a kill or a full disk is completed by the next one.
        """
        with storage(self._root):
            self._root.mkdir(exist_ok=True)
            for name, source in files.items():
                self._link(source, name)
            aside = self._root / f"{ASIDE}{MANIFEST_FILE}"
            text = msgspec.json.format(msgspec.json.encode(manifest), indent=0)
            write_synced(aside, text + b"\n")
            sync_directory(self._root)
            aside.replace(self._root / MANIFEST_FILE)
            sync_directory(self._root)
        with suppress(OSError):  # the next publication tries again
            for path in self._root.iterdir():
                if path.name not in files and path.name != MANIFEST_FILE:
                    path.unlink()

    def _link(self, source: Path, name: str) -> None:
        if not (self._root / name).exists():
            aside = self._root / f"{ASIDE}{name}"
            aside.unlink(missing_ok=True)
            link(source, aside)
            aside.replace(self._root / name)

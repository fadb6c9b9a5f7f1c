"""`dumps/full/`: the dumps that are kept, each file under a name with its hash.

Files are there before the manifest that names them, and are removed with the last one that does.
The newest dump and the one before it are always here; of older ones the first of each hour and of
each day are kept for some time. A file that two dumps share is there once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
import structlog

from schemas.codec import NO_JSON
from schemas.manifest import (
    MANIFEST_BYTES_MAX,
    MANIFEST_FILE,
    MANIFEST_FORMAT,
    Exceptions,
    FullManifest,
    Manifest,
)
from sinks.dump.keep import Keep
from sinks.durable import storage, sync_directory, write_synced
from sinks.publication import ASIDE, KEPT_VERSIONS, link

HOUR_MS, DAY_MS = 3_600_000, 86_400_000

log_ = structlog.get_logger("sinks.dump.sink")
_manifest = msgspec.json.Decoder(FullManifest)


def retained(dumps: Sequence[Manifest], now_ms: int, keep: Keep) -> tuple[Manifest, ...]:
    """The `dumps` (old to new) that stay. Pure."""
    stay = set(range(len(dumps))[-KEPT_VERSIONS:])
    for period_ms, keep_seconds in ((HOUR_MS, keep.hourly), (DAY_MS, keep.daily)):
        seen: set[int] = set()
        for number, dump in enumerate(dumps):
            made_ms = _ms(dump.created)
            if made_ms // period_ms not in seen and now_ms - made_ms <= keep_seconds * 1000:
                stay.add(number)
            seen.add(made_ms // period_ms)
    return tuple(dumps[number] for number in sorted(stay))


def _ms(created: str) -> int:
    return int(datetime.fromisoformat(created).timestamp() * 1000)


class FullFolder:
    """The kept dumps. Raises DiskFull (what was published stays) and StorageFailed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def offer(self, files: Mapping[str, Path]) -> None:
        """Add `files` (hashed name -> immutable file), before a manifest names them."""
        with storage(self._root):
            self._root.mkdir(exist_ok=True)
            for name, source in files.items():
                if not (self._root / name).exists():
                    aside = self._root / f"{ASIDE}{name}"
                    aside.unlink(missing_ok=True)
                    link(source, aside)
                    aside.replace(self._root / name)
            sync_directory(self._root)

    def publish(
        self, newest: Manifest, now_ms: int, keep: Keep, goes: Callable[[Manifest], bool]
    ) -> None:
        """List `newest`, whose files were offered; drop dumps that are too old or that `goes`."""
        held = [each for each in self._listed() if not goes(each)]
        dumps = retained((*held, _without_names(newest)), now_ms, keep)
        text = msgspec.json.format(
            msgspec.json.encode(FullManifest(newest.created, dumps)), indent=0
        )
        with storage(self._root):
            aside = self._root / f"{ASIDE}{MANIFEST_FILE}"
            write_synced(aside, text + b"\n")
            aside.replace(self._root / MANIFEST_FILE)
            sync_directory(self._root)
        named = {file.file for each in dumps for file in each.files.values()}
        with suppress(OSError):  # the next publication tries again
            for path in self._root.iterdir():
                if path.name not in named and path.name != MANIFEST_FILE:
                    path.unlink()

    def _listed(self) -> tuple[Manifest, ...]:
        """The dumps in the present manifest whose files are there."""
        manifest = full_manifest(self._root)
        return tuple(
            each
            for each in (manifest.dumps if manifest else ())
            if all((self._root / file.file).is_file() for file in each.files.values())
        )


def full_manifest(root: Path) -> FullManifest | None:
    """The manifest of the folder; None if it is missing or cannot be read."""
    try:
        with (root / MANIFEST_FILE).open("rb") as file:
            manifest = _manifest.decode(file.read(MANIFEST_BYTES_MAX))
    except FileNotFoundError:
        return None
    except (OSError, *NO_JSON) as error:
        log_.warning("the list of kept dumps begins anew", why=str(error))
        return None
    return manifest if manifest.format == MANIFEST_FORMAT else None


def _without_names(manifest: Manifest) -> Manifest:
    """Without names of exceptions, up to 10 000 per dump, which `state.jsonl.zst` has, too."""
    exceptions = manifest.exceptions
    omitted = exceptions.omitted + len(exceptions.names)
    return msgspec.structs.replace(manifest, exceptions=Exceptions(exceptions.counts, (), omitted))

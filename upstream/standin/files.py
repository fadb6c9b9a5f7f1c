"""File objects of a document (one entry of `releases[version]`), in today's and in older shapes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from upstream.standin.packages import INSTALLABLE_NAMES, metadata_sha256, wheel_bytes
from upstream.standin.seeds import hex_pool
from upstream.standin.vocabulary import normalized

FILES_HOST = "https://files.example.org/packages"
_POOL_STEP = 193  # prime, so that consecutive hashes of one project do not overlap into repeats


class Era(IntEnum):
    """Which shape a document has, by the time it was last written (keys came and went)."""

    OLD_INDEX = 2017
    Y2018 = 2018
    Y2020 = 2020
    Y2024 = 2024
    LATE_2024 = 2025
    TODAY = 2026


@dataclass(frozen=True, slots=True)
class FileName:
    """What a file is called and what kind it is."""

    filename: str
    packagetype: str
    python_version: str


_WHEEL_TAGS = tuple(
    (f"cp3{minor}-cp3{minor}-{platform}", f"cp3{minor}")
    for minor in (9, 10, 11, 12, 13)
    for platform in (
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "manylinux_2_17_aarch64.manylinux2014_aarch64",
        "musllinux_1_2_x86_64",
        "macosx_11_0_arm64",
        "win_amd64",
    )
)
KINDS_MAX = 2 + len(_WHEEL_TAGS)
_OLD_KINDS = (
    ("bdist_egg", "-py2.7.egg", "2.7"),
    ("bdist_wininst", ".win32.exe", "any"),
    ("bdist_msi", ".win-amd64-py2.7.msi", "2.7"),
    ("bdist_dumb", ".linux-x86_64.tar.gz", "any"),
)


def file_name(name: str, version: str, kind: int) -> FileName:
    """File number `kind` of a release: 0 the sdist, 1 the pure wheel, then wheels per platform."""
    stem = name.replace("-", "_")
    plain = "_".join(version.split()).replace("-", "_")
    if kind == 0:
        return FileName(f"{stem}-{plain}.tar.gz", "sdist", "source")
    if kind == 1:
        return FileName(f"{stem}-{plain}-py3-none-any.whl", "bdist_wheel", "py3")
    tag, python = _WHEEL_TAGS[(kind - 2) % len(_WHEEL_TAGS)]
    return FileName(f"{stem}-{plain}-{tag}.whl", "bdist_wheel", python)


def old_file_name(name: str, version: str, kind: int) -> FileName:
    """File names of the distribution formats that are not uploaded any more."""
    packagetype, ending, python = _OLD_KINDS[kind % len(_OLD_KINDS)]
    return FileName(f"{name}-{version}{ending}", packagetype, python)


class FileMaker:
    """Makes the file objects of one project; equal arguments in equal order give equal objects."""

    def __init__(self, seed: int, display_name: str, start: int, era: Era) -> None:
        self._pool = hex_pool(seed)
        self._room = len(self._pool) - 256
        self._place = start % self._room
        self._name = normalized(display_name)
        self._era = era

    @property
    def name(self) -> str:
        """The normalised name."""
        return self._name

    def make(
        self, version: str, what: FileName, requires_python: str | None, uploaded: float
    ) -> dict[str, Any]:
        """A file object with sorted keys; `uploaded` in Unix seconds."""
        self._place = place = (self._place + _POOL_STEP) % self._room
        pool = self._pool
        sha256, blake2b, md5 = (
            pool[place : place + 64],
            pool[place + 64 : place + 128],
            pool[place + 128 : place + 160],
        )
        size = 2000 + int(sha256[:5], 16)
        metadata: dict[str, str] | bool = False
        if what.packagetype == "bdist_wheel":
            metadata = {"sha256": metadata_sha256(self._name, version, requires_python)}
            if self._name in INSTALLABLE_NAMES and what.python_version == "py3":
                content = wheel_bytes(self._name, version, requires_python)
                size = len(content)
                sha256 = hashlib.sha256(content).hexdigest()
                blake2b = hashlib.blake2b(content, digest_size=32).hexdigest()
                md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        when = datetime.fromtimestamp(int(uploaded), UTC).isoformat()[:19]
        result: dict[str, Any] = {
            "comment_text": None if self._era >= Era.LATE_2024 else "",
            "core-metadata": metadata,
            "digests": {"blake2b_256": blake2b, "md5": md5, "sha256": sha256},
            "downloads": -1,
            "filename": what.filename,
            "has_sig": False,
            "md5_digest": md5,
            "packagetype": what.packagetype,
            "python_version": what.python_version,
            "requires_python": requires_python,
            "size": size,
            "upload_time": when,
            "upload_time_iso_8601": f"{when}.{size % 1_000_000:06d}Z",
            "url": f"{FILES_HOST}/{blake2b[:2]}/{blake2b[2:4]}/{blake2b[4:]}/{what.filename}",
            "yanked": False,
            "yanked_reason": None,
        }
        return result if self._era is Era.TODAY else aged(result, self._era)


def aged(file: dict[str, Any], era: Era) -> dict[str, Any]:
    """The same file object in the shape of an earlier time."""
    dropped = {"core-metadata"}
    if era <= Era.Y2018:
        dropped |= {"yanked", "yanked_reason"}
    if era is Era.OLD_INDEX:
        dropped |= {"digests", "requires_python", "upload_time_iso_8601"}
    result = {key: value for key, value in file.items() if key not in dropped}
    if era is Era.OLD_INDEX:
        result["path"] = result["url"].removeprefix(FILES_HOST + "/")
        result["downloads"] = result["size"] % 5000
        return dict(sorted(result.items()))
    if era <= Era.Y2020:
        result["digests"] = {key: file["digests"][key] for key in ("md5", "sha256")}
    return result

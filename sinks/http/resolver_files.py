"""What a file's name says: a version of this project, a wheel's build and tags. Pure.

As pip reads it: wheels as PEP 427 has them, of any other archive `<name>-<version>` before its
ending, where `name` may be spelt in any way that normalises to the project's. What a name does not
say, no installer finds out; such files (installers for Windows, eggs, names of other projects) fit
nobody.
"""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from schemas.names import NormalizedName

VERSIONS_CACHED_MAX = 65_536  # some 400 bytes each; version texts recur across projects
NAMES_CACHED_MAX = 8_192  # spellings of project names in file names, two or three a project
HEADS_CACHED_MAX = 4_096  # `numpy-1.26.4`: the wheels of one release share it
VERSION_CHARACTERS_MAX = 200  # as in `processors.versions`: a guard, not a rule
FILENAME_CHARACTERS_MAX = 1_000  # file systems stop at 255; longer ones are not read, nor kept

ENDINGS = (
    *(".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar", ".tbz"),
    *(".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma"),
)
"""Of the source archives that pip opens."""

_USUAL_ENDING = ENDINGS[0]

WHEEL = ".whl"

Build = tuple[()] | tuple[int, str]

_WHEEL_NAME = re.compile(r"[\w._]+", re.UNICODE)
_BUILD = re.compile(r"(\d+)(.*)", re.ASCII)
_FOR_PYTHON = re.compile(r"-py([123]\.?[0-9]?)$")  # `foo-1.0-py3.9.tar.gz`: for one Python alone
_TAGS = 3  # parts of a wheel's name, at its end
_PARTS = (2, 3)  # before them, without and with a build


def version_of(text: str) -> Version | None:
    """Give the PEP 440 version, None if it is none. The same object for the same text, mostly."""
    return _version_of(text) if len(text) <= VERSION_CHARACTERS_MAX else None


@lru_cache(VERSIONS_CACHED_MAX)
def _version_of(text: str) -> Version | None:
    try:
        return Version(text)
    except (InvalidVersion, ValueError, RecursionError):
        return None


def split_wheel(filename: str) -> tuple[str, str]:
    """What a wheel's name has before its tags, and the tags (`cp311-abi3-win32`)."""
    head = filename.rsplit("-", _TAGS)[0]
    return head, filename[len(head) + 1 : -len(WHEEL)]


@lru_cache(HEADS_CACHED_MAX)
def wheel_of(head: str, project: NormalizedName) -> tuple[Version, Build] | None:
    """Read what `split_wheel` gives first; None if it names no version of this project."""
    parts = head.split("-")
    if len(parts) not in _PARTS or not _is_name(parts[0], project):
        return None
    if "__" in parts[0] or _WHEEL_NAME.fullmatch(parts[0]) is None:
        return None
    version = version_of(parts[1])
    if version is None:
        return None
    if len(parts) == _PARTS[0]:
        return version, ()
    match = _BUILD.match(parts[2])
    return None if match is None else (version, (int(match[1]), match[2]))


def archive_of(filename: str, project: NormalizedName) -> tuple[Version, str | None] | None:
    """Read a source archive's name: its version, and the only Python it says it is for (`3.9`).

    None if it names no version of this project that pip could install.
    """
    if filename.endswith(_USUAL_ENDING):
        ending: str | None = _USUAL_ENDING
    else:
        ending = next((each for each in ENDINGS if filename.endswith(each)), None)
    if ending is None or (ending == ".zip" and "macosx10" in filename):
        return None
    text = _after_name(filename[: -len(ending)], project)
    python = None
    if "-py" in text and (match := _FOR_PYTHON.search(text)):
        text, python = text[: match.start()], match[1]
    version = version_of(text) if text else None
    return None if version is None else (version, python)


def _after_name(stem: str, project: NormalizedName) -> str:
    """Give what follows the first dash before which the project's name stands, "" if none does."""
    at = stem.find("-")
    while at >= 0:
        if _is_name(stem[:at], project):
            return stem[at + 1 :]
        at = stem.find("-", at + 1)
    return ""


@lru_cache(NAMES_CACHED_MAX)
def _is_name(spelling: str, project: NormalizedName) -> bool:
    return str(canonicalize_name(spelling)) == project

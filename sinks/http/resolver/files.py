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

VERSIONS_CACHED_MAX = 65_536  # some 700 bytes each; version texts recur across projects
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


Order = tuple[object, ...]


class KnownVersion(Version):
    """A version with its place among all others as plain values, which are compared in no time.

    `order` is as PEP 440 has it: equal for equal versions, `1.0` and `1.0.0`. `early`: it is a
    pre-release, or one of development.
    """

    __slots__ = ("early", "order")

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.order: Order = _order(self)
        self.early = self.is_prerelease


def _order(version: Version) -> Order:
    release = version.release
    while release and release[-1] == 0:
        release = release[:-1]
    pre: Order
    if version.pre is not None:
        pre = (1, *version.pre)
    else:  # 1.0.dev1 comes before 1.0a1, 1.0 and 1.0.post1.dev1 after 1.0rc1
        pre = (0,) if version.post is None and version.dev is not None else (2,)
    post = -1 if version.post is None else version.post
    dev = (1,) if version.dev is None else (0, version.dev)
    parts = () if version.local is None else version.local.split(".")
    local = tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
    return (version.epoch, release, pre, post, dev, local)


def version_of(text: str) -> KnownVersion | None:
    """Give the PEP 440 version, None if it is none. The same object for the same text, mostly."""
    return _version_of(text) if len(text) <= VERSION_CHARACTERS_MAX else None


@lru_cache(VERSIONS_CACHED_MAX)
def _version_of(text: str) -> KnownVersion | None:
    try:
        return KnownVersion(text)
    except (InvalidVersion, ValueError, RecursionError):
        return None


def split_wheel(filename: str) -> tuple[str, str]:
    """What a wheel's name has before its tags, and the tags (`cp311-abi3-win32`)."""
    head = filename.rsplit("-", _TAGS)[0]
    return head, filename[len(head) + 1 : -len(WHEEL)]


class FileNames:
    """Reads the names of one project's files. What recurs among them is read once."""

    def __init__(self, project: NormalizedName) -> None:
        self._project = project
        self._is_name: dict[str, bool] = {}
        self._wheels: dict[str, tuple[KnownVersion, Build] | None] = {}

    def wheel(self, head: str) -> tuple[KnownVersion, Build] | None:
        """Read what `split_wheel` gives first; None if it names no version of this project."""
        if head not in self._wheels:  # the wheels of one release share it
            self._wheels[head] = self._wheel(head)
        return self._wheels[head]

    def _wheel(self, head: str) -> tuple[KnownVersion, Build] | None:
        parts = head.split("-")
        name = parts[0]
        if len(parts) not in _PARTS or not self._names_it(name):
            return None
        if "__" in name or _WHEEL_NAME.fullmatch(name) is None:
            return None
        version = version_of(parts[1])
        if version is None:
            return None
        if len(parts) == _PARTS[0]:
            return version, ()
        match = _BUILD.match(parts[2])
        return None if match is None else (version, (int(match[1]), match[2]))

    def archive(self, filename: str) -> tuple[KnownVersion, str | None] | None:
        """Read a source archive's name: its version, and the only Python it says it is for (`3.9`).

        None if it names no version of this project that pip could install.
        """
        if filename.endswith(_USUAL_ENDING):
            ending: str | None = _USUAL_ENDING
        else:
            ending = next((each for each in ENDINGS if filename.endswith(each)), None)
        if ending is None or (ending == ".zip" and "macosx10" in filename):
            return None
        text = self._after_name(filename[: -len(ending)])
        python = None
        if "-py" in text and (match := _FOR_PYTHON.search(text)):
            text, python = text[: match.start()], match[1]
        version = version_of(text) if text else None
        return None if version is None else (version, python)

    def _after_name(self, stem: str) -> str:
        """Give what follows the first dash before which the name stands, "" if none does."""
        at = stem.find("-")
        while at >= 0:
            if self._names_it(stem[:at]):
                return stem[at + 1 :]
            at = stem.find("-", at + 1)
        return ""

    def _names_it(self, spelling: str) -> bool:
        found = self._is_name.get(spelling)
        if found is None:
            found = self._is_name[spelling] = str(canonicalize_name(spelling)) == self._project
        return found

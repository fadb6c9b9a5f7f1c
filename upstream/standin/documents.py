"""A project's document: made for the corpus, and put right again after each change.

`Document` is the JSON object of `GET /pypi/<name>/json` as Python values.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import orjson

from upstream.standin.files import KINDS_MAX, Era, FileMaker, file_name
from upstream.standin.info import BYTES_RICH, BYTES_SPARSE, INDEX_HOST, RICH_FROM_BYTES, make_info
from upstream.standin.seeds import likely
from upstream.standin.versions import latest_version, version_sequence
from upstream.standin.vocabulary import PYTHONS, normalized, prose

Document = dict[str, Any]

FILE_BYTES = 770  # of a usual file object without the name, which stands in it twice
PROSE_ESCAPED = 0.95  # bytes of prose per byte on the wire, where a newline takes two
FILES_MIN = 2  # one file stands in the document twice; less room is no file
FILES_OF_MANY_WHEELS = 60  # projects below this have no wheels per platform
RELEASES_MAX = 3000  # the real maximum seen is 1649
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """What one document shall be like."""

    seed: int
    index: int
    display_name: str
    serial: int
    size: int  # bytes wanted
    era: Era
    roles: tuple[tuple[str, str], ...]
    uploaded: int  # Unix seconds of the newest file


def make_document(plan: Plan, random_: random.Random) -> Document:
    """A document of about `plan.size` bytes, settled."""
    rich = plan.size >= RICH_FROM_BYTES
    requires_python = random_.choice(PYTHONS if likely(random_, 0.95) else (None, ""))
    info = make_info(random_, plan.display_name, plan.era, requires_python, rich=rich)
    room = plan.size - (BYTES_RICH if rich else BYTES_SPARSE)
    file_bytes = FILE_BYTES + 2 * len(plan.display_name)
    share = random_.uniform(0.05, 0.35) if rich else 0.0
    files = int(room * (1 - share) / file_bytes)
    maker = FileMaker(plan.seed, plan.display_name, random_.getrandbits(30), plan.era)
    releases = _releases(random_, plan, maker, files, requires_python)
    document: Document = {"info": info}
    if plan.era > Era.OLD_INDEX:
        document["last_serial"] = plan.serial
    if plan.era is Era.TODAY:
        document["ownership"] = {
            "organization": None,
            "roles": [{"role": role, "user": user} for role, user in plan.roles],
        }
    document["releases"] = releases
    document["urls"] = []
    if plan.era >= Era.Y2020:
        document["vulnerabilities"] = []
    settle(document)
    missing = plan.size - len(orjson.dumps(document))
    if missing > 0 and (rich or likely(random_, 0.9)):
        info["description"] = prose(random_, int(missing * PROSE_ESCAPED))
    return document


def _releases(
    random_: random.Random, plan: Plan, maker: FileMaker, files: int, requires_python: str | None
) -> dict[str, list[dict[str, Any]]]:
    """`files` file objects (the latest release's counted twice) over releases, oldest first."""
    if files < FILES_MIN:
        return {random_.choice(("0.1", "1.0.0", "0.0.1")): []}
    each = (
        random_.choice((1, 2, 2, 2, 3))
        if files < FILES_OF_MANY_WHEELS
        else random_.choice((2, 2, 5, 12, 27))
    )
    each = min(each, files // 2, KINDS_MAX)
    count = max(1, (files - each) // each)
    if count > RELEASES_MAX:
        each = min(KINDS_MAX, files // RELEASES_MAX + 1)
        count = max(1, (files - each) // each)
    versions = version_sequence(random_, count)
    first = random_.randrange(2) if each == 1 else 0
    days = 1 + random_.randrange(60)
    releases: dict[str, list[dict[str, Any]]] = {}
    for place, version in enumerate(versions):
        newest = plan.uploaded - (count - 1 - place) * days * _DAY_SECONDS
        releases[version] = [
            maker.make(
                version, file_name(maker.name, version, kind), requires_python, newest + kind
            )
            for kind in range(first, first + each)
        ]
    return releases


def settle(document: Document) -> Document:
    """Make `releases` sorted as strings, `info` speak of the latest version, `urls` its files.

    Returns the same document, changed in place. `releases` may not be empty.
    """
    releases = document["releases"]
    if len(releases) > 1:
        document["releases"] = releases = dict(sorted(releases.items()))
    version = latest_version(releases)
    return point_at(document, version)


def point_at(document: Document, version: str) -> Document:
    """Make `info` and `urls` speak of `version`; changes the document in place."""
    info, files = document["info"], document["releases"][version]
    info["version"] = version
    info["release_url"] = f"{INDEX_HOST}/project/{normalized(info['name'])}/{version}/"
    if "yanked" in info:
        info["yanked"] = bool(files) and all(file.get("yanked", False) for file in files)
        reasons = [file["yanked_reason"] for file in files if file.get("yanked_reason")]
        info["yanked_reason"] = reasons[0] if info["yanked"] and reasons else None
    document["urls"] = files
    return document


def dumped(document: Document) -> bytes:
    """Today's form on the wire: compact, sorted keys, raw UTF-8, one newline."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def dumped_as_of_old(document: Document, variant: int) -> bytes:
    """Forms of earlier years: 4-space indentation and unsorted, or escaped and without newline."""
    if variant % 2:
        return json.dumps(document, indent=4).encode()
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

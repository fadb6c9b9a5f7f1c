"""The `info` object: all keys of each era, and the three spellings of "nothing"."""

from __future__ import annotations

import random
from typing import Any

from upstream.standin.files import Era
from upstream.standin.seeds import likely
from upstream.standin.vocabulary import (
    CLASSIFIERS,
    LABELS,
    LICENSES,
    NON_ASCII,
    PEOPLE,
    normalized,
    prose,
)

INDEX_HOST = "https://index.example.org"
BYTES_SPARSE = 1050  # about what `info` takes with nearly every field empty
BYTES_RICH = 1450  # ... and with the usual ones filled
RICH_FROM_BYTES = 4000  # a document below this has no room for a rich one
_NOTHING = (None, "")


def make_info(
    random_: random.Random, display_name: str, era: Era, requires_python: str | None, *, rich: bool
) -> dict[str, Any]:
    """`info` without version and description (see `settle`), in the shape of `era`, keys sorted."""
    name = normalized(display_name)
    person = random_.choice(PEOPLE)
    mail = f"{name[:12]}@mail.example.org"
    modern = era >= Era.Y2024 and likely(random_, 0.6)  # has PEP 621 metadata
    home = f"https://code.example.org/{name[:3]}/{name}"
    classifiers = sorted(random_.sample(CLASSIFIERS, random_.randrange(3, 12) if rich else 1))
    license_ = random_.choice(LICENSES)
    expression = license_ if era >= Era.LATE_2024 and likely(random_, 0.3) else None
    info: dict[str, Any] = {
        "author": None if modern else person,
        "author_email": f"{person} <{mail}>" if modern else mail,
        "bugtrack_url": None,
        "classifiers": classifiers,
        "description": "",
        "description_content_type": random_.choice(
            (
                "text/markdown",
                "text/markdown",
                "text/x-rst",
                "text/markdown; charset=UTF-8",
                None,
                "",
            )
        ),
        "docs_url": None,
        "download_url": random_.choice(_NOTHING),
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
        "dynamic": ["Requires-Dist"] if likely(random_, 0.1) else None,
        "home_page": random_.choice(_NOTHING) if modern else home,
        "keywords": random_.choice((None, "", "stream,table", "stream table", "data, async, io")),
        "license": None if expression else random_.choice((*LICENSES, None, "")),
        "license_expression": expression,
        "license_files": ["LICENSE"] if expression else None,
        "maintainer": random_.choice(_NOTHING),
        "maintainer_email": random_.choice(_NOTHING),
        "name": display_name,
        "package_url": f"{INDEX_HOST}/project/{name}/",
        "platform": random_.choice((None, None, None, "", "any")),
        "project_url": f"{INDEX_HOST}/project/{name}/",
        "project_urls": _project_urls(random_, home) if modern and rich else None,
        "provides_extra": ["dev", "test"] if rich and likely(random_, 0.2) else None,
        "release_url": "",
        "requires_dist": _requirements(random_, rich=rich),
        "requires_python": requires_python,
        "summary": random_.choice(NON_ASCII)
        if likely(random_, 0.05)
        else prose(random_, random_.randrange(12, 80)).replace("\n", " ").replace("#", "").strip(),
        "version": "",
        "yanked": False,
        "yanked_reason": None,
    }
    return info if era >= Era.LATE_2024 else _older(info, era, random_)


def _project_urls(random_: random.Random, home: str) -> dict[str, str]:
    labels = random_.sample(LABELS, random_.randrange(1, 4))
    return {label: f"{home}/{number}" for number, label in enumerate(sorted(labels))}


def _requirements(random_: random.Random, *, rich: bool) -> list[str] | None:
    if not rich or likely(random_, 0.3):
        return None
    count = random_.choice((1, 2, 3, 5, 8, 13))
    names = (f"{random_.choice(LICENSES)[:3].lower()}-{word}" for word in ("core", "io", "net"))
    stems = [*names, "numberlib", "tablelib", "netlib", "clicker"]
    wanted = []
    for number in range(count):
        stem = stems[number % len(stems)] + (str(number) if number >= len(stems) else "")
        wanted.append(
            stem
            + random_.choice(("", ">=1.0", "<3,>=2.1", "==1.*", '>=1; extra == "test"', "~=2.0"))
        )
    return wanted


def _older(info: dict[str, Any], era: Era, random_: random.Random) -> dict[str, Any]:
    for key in ("license_expression", "license_files"):
        del info[key]
    if era < Era.Y2024:
        for key in ("dynamic", "provides_extra"):
            del info[key]
    if era < Era.Y2020:
        for key in ("yanked", "yanked_reason"):
            del info[key]
    return _old_index(info, random_) if era is Era.OLD_INDEX else info


def _old_index(info: dict[str, Any], random_: random.Random) -> dict[str, Any]:
    """Shape of the index before 2018: unsorted, UNKNOWN for nothing, counters that counted."""
    for key in ("project_url", "project_urls", "description_content_type"):
        del info[key]
    requires = info.pop("requires_dist")
    if requires:
        info["requires_dist"] = [f"{text.split('>')[0].split('=')[0]} (>=1.0)" for text in requires]
        info["provides"] = ["nothing"]
    info |= {
        "_pypi_hidden": False,
        "_pypi_ordering": random_.randrange(40),
        "cheesecake_code_kwalitee_id": None,
        "cheesecake_documentation_id": None,
        "cheesecake_installability_id": None,
        "downloads": {
            "last_month": random_.randrange(9000),
            "last_week": random_.randrange(900),
            "last_day": random_.randrange(90),
        },
        "download_url": "UNKNOWN",
        "platform": "UNKNOWN",
        "license": random_.choice(("UNKNOWN", "BSD", "")),
        "bugtrack_url": random_.choice((None, "", "https://bugs.example.org/1")),
        "docs_url": random_.choice((None, "", "https://docs.example.org/1")),
        "author": info["author"] or random_.choice(("UNKNOWN", "", "A. Nobody")),
        "home_page": random_.choice((info["home_page"], info["home_page"], "UNKNOWN", "")),
    }
    keys = list(info)
    random_.shuffle(keys)
    return {key: info[key] for key in keys}

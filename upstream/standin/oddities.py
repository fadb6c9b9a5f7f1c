"""Every oddity found in real documents, each as a small change of a made document.

A quarter of the corpus has one each, in turn, so that a corpus of a few hundred projects has all.
An oddity changes `document` in place; releases and latest version are settled afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from upstream.standin.documents import Document
from upstream.standin.files import FileMaker, file_name, old_file_name
from upstream.standin.vocabulary import NON_ASCII, prose

Oddity = Callable[[Document, random.Random, FileMaker], None]
ODDITIES: dict[str, Oddity] = {}

LICENSE_CHARACTERS = 41_223  # the longest licence text seen
_UPLOADED = 1_600_000_000


def _oddity(change: Oddity) -> Oddity:
    ODDITIES[change.__name__] = change
    return change


def _texts(name: str, **values: Any) -> None:
    """Register an oddity that only sets keys of `info` (those that its shape has)."""

    def change(document: Document, random_: random.Random, maker: FileMaker) -> None:
        del random_, maker
        document["info"] |= values

    ODDITIES[name] = change


def _release(document: Document, maker: FileMaker, version: str, count: int = 1) -> None:
    document["releases"][version] = [
        maker.make(version, file_name(maker.name, version, kind), ">=3.8", _UPLOADED)
        for kind in range(count)
    ]


_texts("unknown_word", download_url="UNKNOWN", platform="UNKNOWN", license="UNKNOWN")
_texts("unknown_url", project_urls={"Download": "UNKNOWN", "Homepage": ""})
_texts("empty_strings", author="", author_email="", keywords="", license="", summary="")
_texts("nulls", author=None, author_email=None, keywords=None, license=None, summary=None)
_texts("empty_requirements", requires_dist=[])
_texts("null_requirements", requires_dist=None)
_texts("parentheses_in_requirements", requires_dist=["tablelib (>=1.0)", "netlib (<3,>=2)"])
_texts("unparsable_requirements", requires_dist=["zonelib (>dev)", "tools (>=18.5decorator)"])
_texts("duplicate_requirements", requires_dist=["tablelib>=1", "tablelib>=1", "tablelib"])
_texts("direct_url_requirement", requires_dist=["netlib @ https://code.example.org/netlib.zip"])
_texts("license_expression", license=None, license_expression="MIT OR Apache-2.0")
_texts("several_authors", author=None, author_email="Ana Oru <a@x.example>, Béla <b@x.example>")
_texts("mail_without_at", author_email="nobody at mail.example.org")
_texts("encoded_word", author_email="=?utf-8?q?B=C3=A9la_V=C3=A1ndor?= <b@x.example.org>")
_texts("labels_in_any_language", home_page=None, project_urls={"主页": "https://x.example.org/"})
_texts("keywords_with_commas", keywords="stream,table,index")
_texts("keywords_with_blanks", keywords="stream table index")
_texts("content_type_parameters", description_content_type="text/markdown; variant=GFM")
_texts("content_type_is_a_heading", description_content_type="# What this is\n")
_texts("newline_in_summary", summary="first line\nsecond line")
_texts("blanks_around_summary", summary="  two before and one after ")
_texts("crlf_in_description", description="first\r\nsecond\r\n")
_texts("control_characters", summary="bell \x07 escape \x1b[31mred\x1b[0m del \x7f")
_texts("right_to_left", summary="مكتبة \u202eevil\u202c \u2066isolated\u2069")
_texts("emoji", summary="🐍 👩‍🔬 🚀", author="🤷")
_texts("html_in_summary", summary="<script>alert(1)</script> & <b>bold</b>")
_texts("old_urls", bugtrack_url="https://bugs.example.org/1", docs_url="")
_texts("odd_python", requires_python=">=3.6.*")
_texts("null_python", requires_python=None)


@_oddity
def long_license(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """The whole text of a licence in `license`."""
    del maker
    document["info"]["license"] = prose(random_, LICENSE_CHARACTERS)


@_oddity
def empty_release(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """A release without files among others."""
    del random_
    document["releases"] |= {"0.0.0": []}
    _release(document, maker, "0.0.1")


@_oddity
def string_order(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """`0.10.0` sorts before `0.9.0`: the last key is not the latest version."""
    del random_
    document["releases"] = {}
    for version in ("0.9.0", "0.10.0"):
        _release(document, maker, version)


def _only(name: str, *versions: str, yanked: tuple[str, ...] = (), count: int = 1) -> None:
    """Register an oddity whose document has exactly these releases."""

    def change(document: Document, random_: random.Random, maker: FileMaker) -> None:
        del random_
        document["releases"] = {}
        for version in versions:
            _release(document, maker, version, count)
        for version in yanked:
            for number, file in enumerate(document["releases"][version]):
                file["yanked"] = True
                file["yanked_reason"] = ("broken build", "", None)[number % 3]

    ODDITIES[name] = change


_only("only_prereleases", "1.0a1", "1.0b2", "1.0rc1")
_only("prerelease_is_highest", "1.0.0", "1.1.0rc1", "1.1.0.dev3")
_only("all_yanked", "1.0", "1.1", yanked=("1.0", "1.1"))
_only("highest_is_yanked", "0.5.1", "0.5.2", "2024.2.29", yanked=("2024.2.29",))
_only("yank_without_reason", "1.0", "1.1", yanked=("1.1",), count=3)
_only("not_canonical_version", "1.0.5-1")
_only("prefixed_version", "v0.1.1")
_only("dev_version", "1.0-dev")
_only("invalid_latest_version", ".9")
_only("invalid_versions", "1.8d", "1.5.7.", "0.5.2.5.g5b3e942", "2004d", "1.0.2 dev", "1.0")
_only("word_version", "unknown", "1.0.0-final", "0.4")
_only("newline_in_version", "0.2.4b\n0.2.5b", "0.2.3")
_only("equal_versions", "0.1.6", "0.1.6.0", "3.1.0.rc1", "3.1.0rc1", "0.12.01", "0.12.1")
_only("epoch_version", "2020.1", "1!0.1")
_only("local_version", "1.0", "1.0+local.3")
_only("post_release", "1.0", "1.0.post1")
_only("long_version", "1." + "0" * 150 + "1", "0.1")
_only("empty_version", "")


@_oddity
def partly_yanked(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """One file of the latest release is yanked, the other is not."""
    del random_
    _release(document, maker, "999.0", 2)
    document["releases"]["999.0"][0] |= {"yanked": True, "yanked_reason": "bad archive"}


@_oddity
def python_differs_by_file(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """Two files of one release require different Pythons."""
    del random_
    _release(document, maker, "999.1", 2)
    document["releases"]["999.1"][0]["requires_python"] = ">=3.7"


@_oddity
def old_packagetypes(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """Eggs and installers of another operating system."""
    del random_
    _release(document, maker, "0.0.3")
    for kind in range(4):
        what = old_file_name(maker.name, "0.0.3", kind)
        document["releases"]["0.0.3"].append(maker.make("0.0.3", what, None, _UPLOADED))


@_oddity
def signed_file(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """`has_sig` and a comment, as older uploads have them."""
    del random_
    _release(document, maker, "0.0.4")
    document["releases"]["0.0.4"][0] |= {"has_sig": True, "comment_text": NON_ASCII[1]}


@_oddity
def many_requirements(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """133 requirements, the most seen."""
    del random_, maker
    document["info"]["requires_dist"] = [f'lib{n}>=1; extra == "x{n % 7}"' for n in range(133)]


def vulnerability(number: int, fixed_in: list[str]) -> dict[str, Any]:
    """One entry of `vulnerabilities`."""
    return {
        "aliases": [f"CVE-2099-{1000 + number}"],
        "details": "A made-up flaw: text with `code` and\nnewlines.",
        "fixed_in": fixed_in,
        "id": f"PYSEC-2099-{number}",
        "link": f"https://vulnerabilities.example.org/PYSEC-2099-{number}",
        "source": "osv",
        "summary": None,
        "withdrawn": None,
    }


@_oddity
def vulnerabilities(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """One flaw under two ids, one withdrawn, one that is fixed nowhere."""
    del random_, maker
    twin = vulnerability(2, ["2.0"]) | {"id": "GHSA-made-up00-id", "aliases": ["PYSEC-2099-2"]}
    withdrawn = vulnerability(3, ["1.0"]) | {"withdrawn": "2099-01-01T00:00:00Z", "summary": "text"}
    document["vulnerabilities"] = [vulnerability(2, ["2.0"]), twin, withdrawn, vulnerability(4, [])]


@_oddity
def organisation(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """Owned by an organisation, with several roles."""
    del random_, maker
    roles = [{"role": "Owner", "user": "ana"}, {"role": "Maintainer", "user": "béla"}]
    document["ownership"] = {"organization": "made-up-labs", "roles": roles}


@_oddity
def unknown_keys(document: Document, random_: random.Random, maker: FileMaker) -> None:
    """Keys that nobody has announced: a shape of later years."""
    del random_, maker
    document["attestation-summary"] = {"verified": 0}
    document["info"]["import_names"] = ["made_up"]


ODDITY_NAMES = tuple(ODDITIES)
ODDITY_EVERY = 4  # one project in four has an oddity


def oddity_of(index: int) -> str | None:
    """Which oddity project number `index` has."""
    if index % ODDITY_EVERY:
        return None
    return ODDITY_NAMES[index // ODDITY_EVERY % len(ODDITY_NAMES)]

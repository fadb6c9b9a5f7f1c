"""The made-up corpus has the sizes, shapes and oddities of real documents."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packaging.version import InvalidVersion, Version

from upstream.standin.app import Standin, build_app
from upstream.standin.oddities import ODDITY_EVERY, ODDITY_NAMES
from upstream.standin.settings import SERIAL_MAX, SERIAL_MIN, StandinSettings
from upstream.standin.sizes import QUANTILES, size_at

MIB = 1 << 20
Document = dict[str, Any]


@pytest.fixture(scope="module")
def real() -> Iterator[Standin]:
    app = build_app(StandinSettings(projects=2400, seed=3, sizes="real"))
    yield app
    app.close()


@pytest.fixture(scope="module")
def bodies(real: Standin) -> list[bytes]:
    world = real.world
    return [
        world.store.raw(project.edition.ref)
        for project in world.projects.values()
        if project.edition.served and project.edition.ref is not None
    ]


@pytest.fixture(scope="module")
def documents(bodies: list[bytes]) -> list[Document]:
    return [json.loads(body) for body in bodies if len(body) < MIB]


def test_sizes_are_those_of_the_index(bodies: list[bytes]) -> None:
    """Median 10 KB, mean 60 KB, p99 1 MB, one in a thousand over 5 MiB, the largest 22 MB."""
    sizes = sorted(map(len, bodies))
    count = len(sizes)

    assert 8_500 <= sizes[count // 2] <= 11_500
    assert 54_000 <= sum(sizes) / count <= 66_000
    assert 850_000 <= sizes[count * 99 // 100] <= 1_300_000
    assert 0.0005 <= sum(size > 5 * MIB for size in sizes) / count <= 0.0016
    assert 21_000_000 <= sizes[-1] <= 22_500_000


def test_size_tables_rise() -> None:
    """Both tables are monotonic; the real one has the mean that it promises."""
    for table in QUANTILES.values():
        assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(table))
    steps = 20_000
    assert 55_000 < sum(size_at((n + 0.5) / steps, "real") for n in range(steps)) / steps < 65_000
    assert size_at(1.0, "small") == 64_000


def test_small_sizes_are_small() -> None:
    """`small` has a median of 3 KB, and nothing that slows a latency test down."""
    app = build_app(StandinSettings(projects=1500, sizes="small"))
    refs = [project.edition.ref for project in app.world.projects.values()]
    sizes = sorted(ref.raw for ref in refs if ref is not None)
    app.close()

    assert 2_500 <= sizes[len(sizes) // 2] <= 3_700
    assert sizes[-1] <= 80_000


def test_sixteen_percent_have_no_document(real: Standin) -> None:
    """They are listed all the same, but for the few that are quarantined."""
    statuses = [project.edition.status for project in real.world.projects.values()]

    assert round(0.16 * 2400) == sum(status != "ok" for status in statuses)
    assert 0 < sum(status == "quarantined" for status in statuses) < 40


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Names, serials, bodies and history depend on the seed alone; another seed shares none."""
    first, second, other = (
        build_app(StandinSettings(projects=300, seed=seed, sizes="real")) for seed in (7, 7, 8)
    )

    def all_of(app: Standin) -> list[object]:
        world = app.world
        return [
            (p.name, p.edition.serial, p.edition.etag, p.roles, p.edition.status)
            for p in world.projects.values()
        ] + [world.journal.since(0, None)]

    assert all_of(first) == all_of(second)
    assert all_of(first)[5] != all_of(other)[5]
    for app in (first, second, other):
        app.close()


def test_a_cached_corpus_is_the_same(tmp_path: Path) -> None:
    """The second start reads what the first has written."""
    settings = StandinSettings(projects=120, sizes="small", cache=tmp_path)
    plain = build_app(StandinSettings(projects=120, sizes="small"))
    made, read = build_app(settings), build_app(settings)
    for app in (made, read):
        for name, project in plain.world.projects.items():
            found = app.world.projects[name]
            assert project.edition.etag == found.edition.etag
            assert project.roles == found.roles
            assert plain.world.document(project.edition) == app.world.document(found.edition)
        assert plain.world.journal.since(0) == app.world.journal.since(0)
    assert 2 == len(list(tmp_path.iterdir()))
    for app in (plain, made, read):
        app.close()


def test_bodies_look_like_todays(bodies: list[bytes], documents: list[Document]) -> None:
    """Compact, sorted, raw UTF-8, a newline; `urls` is the latest release's files."""
    today = [body for body in bodies if body.endswith(b"}\n")]

    assert len(today) > 0.95 * len(bodies)
    for body in today[:400]:
        document = json.loads(body)
        written = json.dumps(
            document, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        ).encode()
        assert written + b"\n" == body
    for document in documents:
        assert document["urls"] == document["releases"][document["info"]["version"]]


def test_releases_are_sorted_as_strings(documents: list[Document]) -> None:
    """So the last key is not the latest version in many of them."""
    differs = 0
    for document in documents:
        keys = list(document["releases"])
        assert sorted(keys) == keys
        differs += keys[-1] != document["info"]["version"]
    assert differs > 20


def test_the_latest_version_is_the_indexs_choice(documents: list[Document]) -> None:
    """Not yanked first, final before prerelease, then version order: by a rule of its own."""
    for document in documents:
        releases = document["releases"]
        standing = [
            version
            for version, files in releases.items()
            if not files or not all(file.get("yanked") for file in files)
        ]
        candidates = standing or list(releases)
        parsed = {version: _version(version) for version in candidates}
        finals = [v for v, found in parsed.items() if found and not found.is_prerelease]
        rest = finals or [v for v, found in parsed.items() if found] or candidates
        chosen = document["info"]["version"]
        assert chosen in rest
        mine = parsed[chosen]
        if mine is not None:
            assert all(found is None or found <= mine for found in map(parsed.get, rest))


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def test_serials_are_believable(real: Standin, documents: list[Document]) -> None:
    """In the range seen, unique, and the document's is the newest row of its exact name."""
    rows = real.world.journal.since(0, None)
    newest = {row.name: row.serial for row in rows}

    assert sorted({row.serial for row in rows}) == [row.serial for row in rows]
    assert rows[0].serial >= SERIAL_MIN
    assert rows[-1].serial <= SERIAL_MAX
    for document in documents:
        if "last_serial" in document:
            assert newest[document["info"]["name"]] == document["last_serial"]


def _files(document: Document) -> list[Document]:
    return [file for files in document["releases"].values() for file in files]


def _info(check: Callable[[Document], bool]) -> Callable[[Document], bool]:
    return lambda document: check(document["info"])


def _versions(check: Callable[[list[str]], bool]) -> Callable[[Document], bool]:
    return lambda document: check(list(document["releases"]))


def _requires(check: Callable[[list[str]], bool]) -> Callable[[Document], bool]:
    return lambda document: check(document["info"].get("requires_dist") or [])


def _yanked(files: list[Document]) -> set[bool]:
    return {bool(file.get("yanked")) for file in files}


FACTS: dict[str, Callable[[Document], bool]] = {
    # 3, 4: shapes
    "no last_serial": lambda d: "last_serial" not in d,
    "old index's keys": _info(lambda i: "_pypi_hidden" in i and "cheesecake_code_kwalitee_id" in i),
    "counted downloads": _info(lambda i: i["downloads"]["last_month"] > 0),
    "no yanked in info": _info(lambda i: "yanked" not in i and "project_url" in i),
    "no dynamic": _info(lambda i: "dynamic" not in i and "yanked" in i),
    "no license_expression": _info(lambda i: "license_expression" not in i and "dynamic" in i),
    "no ownership": lambda d: "ownership" not in d and "last_serial" in d,
    "ownership": lambda d: bool(d.get("ownership", {}).get("roles")),
    "no vulnerabilities key": lambda d: "vulnerabilities" not in d,
    "unknown keys": lambda d: "attestation-summary" in d,
    "file without digests": lambda d: any("digests" not in f and "path" in f for f in _files(d)),
    "file without blake2": lambda d: any(
        "digests" in f and "blake2b_256" not in f["digests"] for f in _files(d)
    ),
    "core-metadata false": lambda d: any(f.get("core-metadata") is False for f in _files(d)),
    "core-metadata hash": lambda d: any(
        isinstance(f.get("core-metadata"), dict) for f in _files(d)
    ),
    # 4: nothing in three spellings
    **{
        f"{key} {value!r}": _info(lambda i, k=key, v=value: k in i and i[k] == v)  # type: ignore[misc]  # loop variables
        for key, value in (
            ("author", None), ("author", ""), ("author_email", None), ("author_email", ""),
            ("maintainer", None), ("maintainer", ""), ("home_page", None), ("home_page", ""),
            ("home_page", "UNKNOWN"), ("download_url", None), ("download_url", ""),
            ("download_url", "UNKNOWN"), ("keywords", None), ("keywords", ""),
            ("license", None), ("license", ""), ("license", "UNKNOWN"), ("platform", None),
            ("platform", ""), ("platform", "UNKNOWN"), ("requires_python", None),
            ("requires_python", ""), ("summary", None), ("summary", ""),
            ("description_content_type", None), ("description_content_type", ""),
            ("requires_dist", None), ("requires_dist", []), ("project_urls", None),
            ("dynamic", None), ("provides_extra", None), ("license_files", None),
            ("docs_url", ""), ("yanked_reason", None),
        )
    },
    "UNKNOWN as URL": _info(lambda i: "UNKNOWN" in (i.get("project_urls") or {}).values()),
    "URL in bugtrack_url": _info(lambda i: bool(i["bugtrack_url"])),
    "license expression": _info(lambda i: bool(i.get("license_expression")) and not i["license"]),
    "whole licence": _info(lambda i: len(i["license"] or "") > 40_000),
    "PEP 621 author": _info(lambda i: i["author"] is None and "<" in (i["author_email"] or "")),
    "several authors": _info(lambda i: (i["author_email"] or "").count("@") > 1),
    "mail without @": _info(lambda i: bool(i["author_email"]) and "@" not in i["author_email"]),
    "RFC 2047": _info(lambda i: (i["author_email"] or "").startswith("=?utf-8?")),
    "label in any language": _info(
        lambda i: any(not key.isascii() for key in (i.get("project_urls") or {}))
    ),
    "commas in keywords": _info(lambda i: "," in (i["keywords"] or "")),
    "blanks in keywords": _info(lambda i: bool(re.fullmatch(r"\w+( \w+)+", i["keywords"] or ""))),
    "type with parameters": _info(lambda i: ";" in (i.get("description_content_type") or "")),
    "type is a heading": _info(lambda i: (i.get("description_content_type") or "").startswith("#")),
    "name not normalised": _info(lambda i: re.sub(r"[-_.]+", "-", i["name"]).lower() != i["name"]),
    # 2: text
    "CRLF": _info(lambda i: "\r\n" in (i["description"] or "")),
    "newline in summary": _info(lambda i: "\n" in (i["summary"] or "")),
    "blanks around summary": _info(lambda i: (i["summary"] or "").strip() != (i["summary"] or "")),
    "control characters": _info(lambda i: "\x1b" in (i["summary"] or "")),
    "right to left": _info(lambda i: "\u202e" in (i["summary"] or "")),
    "emoji": _info(lambda i: "🐍" in (i["summary"] or "")),
    "HTML": _info(lambda i: "<script>" in (i["summary"] or "")),
    # 4, 5: versions
    "only prereleases": _versions(
        lambda vs: len(vs) > 1 and all((p := _version(v)) and p.is_prerelease for v in vs)
    ),
    "prerelease is highest": lambda d: any(
        (p := _version(v)) and (q := _version(d["info"]["version"])) and p > q and p.is_prerelease
        for v in d["releases"]
    ),
    "all yanked": lambda d: d["info"].get("yanked") is True,
    "highest is yanked": lambda d: any(
        (p := _version(v)) and (q := _version(d["info"]["version"])) and p > q
        and _yanked(files) == {True} for v, files in d["releases"].items()
    ),
    "partly yanked": lambda d: {True, False} in map(_yanked, d["releases"].values()),
    "empty reason": lambda d: any(f.get("yanked") and f["yanked_reason"] == "" for f in _files(d)),
    "null reason": lambda d: any(f.get("yanked") and f["yanked_reason"] is None for f in _files(d)),
    "release without files": lambda d: [] in d["releases"].values() and len(d["releases"]) > 1,
    "not canonical": _info(lambda i: i["version"] == "1.0.5-1"),
    "v before": _info(lambda i: i["version"] == "v0.1.1"),
    "-dev": _info(lambda i: i["version"] == "1.0-dev"),
    "latest is none": _info(lambda i: i["version"] == ".9"),
    "empty version": _info(lambda i: i["version"] == ""),
    "epoch": _versions(lambda vs: any("!" in v for v in vs)),
    "local version": _versions(lambda vs: any("+" in v for v in vs)),
    "blank in version": _versions(lambda vs: any(" " in v for v in vs)),
    "newline in version": _versions(lambda vs: any("\n" in v for v in vs)),
    "word as version": _versions(lambda vs: "unknown" in vs),
    "equal versions": _versions(lambda vs: {"0.1.6", "0.1.6.0", "0.12.01", "0.12.1"} <= set(vs)),
    "order of strings": _versions(lambda vs: vs == ["0.10.0", "0.9.0"]),
    # 6: requirements
    "parentheses": _requires(lambda rs: any("(>=" in r for r in rs)),
    "unparsable": _requires(lambda rs: any(">dev" in r for r in rs)),
    "duplicates": _requires(lambda rs: len(set(rs)) < len(rs)),
    "direct URL": _requires(lambda rs: any(" @ " in r for r in rs)),
    "133 requirements": _requires(lambda rs: len(rs) == 133),
    "Python differs": lambda d: any(
        len({f.get("requires_python") for f in files}) > 1 for files in d["releases"].values()
    ),
    **{
        packagetype: lambda d, p=packagetype: any(f["packagetype"] == p for f in _files(d))  # type: ignore[misc]  # loop variable
        for packagetype in (
            "sdist", "bdist_wheel", "bdist_egg", "bdist_wininst", "bdist_msi", "bdist_dumb",
        )
    },
    # 7: vulnerabilities
    "vulnerable": lambda d: any(not v["fixed_in"] for v in d.get("vulnerabilities", ())),
    "withdrawn": lambda d: any(v["withdrawn"] for v in d.get("vulnerabilities", ())),
    "one flaw, two ids": lambda d: any(
        {v["id"] for v in d.get("vulnerabilities", ())} & set(v["aliases"])
        for v in d.get("vulnerabilities", ())
    ),
}  # fmt: skip


@pytest.mark.parametrize("fact", FACTS)
def test_the_corpus_has_every_oddity(documents: list[Document], fact: str) -> None:
    """Each oddity found in real documents occurs in a corpus of 2 400."""
    assert any(FACTS[fact](document) for document in documents)


def test_old_encodings_occur(bodies: list[bytes]) -> None:
    """Indented and unsorted, or escaped and without a newline, as bodies were years ago."""
    assert any(body.startswith(b"{\n    ") for body in bodies)
    assert any(body.endswith(b"}") and b"\\u" in body and b"\n" not in body for body in bodies)


def test_oddities_fit_a_small_corpus() -> None:
    """A corpus of a few hundred has each of them."""
    assert len(ODDITY_NAMES) * ODDITY_EVERY <= 260


def test_hashes_do_not_compress_away(bodies: list[bytes]) -> None:
    """A made-up body costs about as much as a real one when compressed: 3 to 12 to 1."""
    total = sum(map(len, bodies))
    packed = sum(len(zlib.compress(body, 6)) for body in bodies[:300])

    assert 3 < sum(map(len, bodies[:300])) / packed < 12
    assert total > 0


def test_nothing_is_taken_from_a_real_host(bodies: list[bytes]) -> None:
    """All addresses are example hosts."""
    hosts = set()
    for body in bodies[:500]:
        hosts |= set(re.findall(rb"https?://([^/\"\s:>]+)", body))

    assert hosts
    assert all(host.endswith(b"example.org") for host in hosts), hosts

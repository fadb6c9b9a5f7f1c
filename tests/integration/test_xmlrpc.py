"""Every method of PyPI's XML-RPC documentation, called by Python's own client over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from xmlrpc.client import Fault, MultiCall, ServerProxy

import pytest

from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, Head, Kind
from sinks.http.xmlrpc import calls as xmlrpc_calls
from sinks.http.xmlrpc import journal as xmlrpc_journal
from tests.support.documents import SHA256, document, file
from tests.support.http_served import served
from tests.support.memory_library import MemoryLibrary
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings

BIG_SERIAL = 2**40  # more than an <int> of XML-RPC holds
WHEEL, SDIST = "some_project-2.0-py3-none-any.whl", "some-project-1.0.tar.gz"

Call = Callable[..., Any]


@pytest.fixture
def library() -> MemoryLibrary:
    """Three projects, a user with two of them, ten rows of a journal."""
    library = MemoryLibrary()
    library.put(
        {
            **document("2.0", name="Some.Project", requires_python=">=3.9", author="A & <B>\r\x00"),
            "last_serial": BIG_SERIAL,
            "ownership": {
                "organization": None,
                "roles": [
                    {"role": "Maintainer", "user": "zoe"},
                    {"role": "Owner", "user": "bob"},
                    {"role": "Owner", "user": "amy"},
                ],
            },
        },
        {
            "1.0": [
                {
                    "filename": SDIST,
                    "digests": {"sha256": SHA256},
                    "packagetype": "sdist",
                    "size": 9,
                    "upload_time_iso_8601": "2020-01-01T00:00:00Z",
                    "url": f"https://files.example.org/packages/ab/cd/{SDIST}",
                }
            ],
            "2.0": [file(WHEEL, upload_time_iso_8601="2026-01-02T03:04:05.000006Z")],
        },
    )
    other = document("1.0", name="other", summary="Parses wheels", classifiers=["A", "B"])
    library.put({**other, "ownership": {"roles": [{"role": "Maintainer", "user": "amy"}]}})
    library.put(document("3", name="wheel-parser", classifiers=["A"], keywords="fast", summary=""))
    library.write(_entries())
    return library


def _entries() -> list[ChangelogEntry]:
    rows: list[tuple[str, str | None, str, Kind]] = [
        ("other", None, "create", Kind.CREATE),
        ("other", "1.0", "new release", Kind.NEW_RELEASE),
        ("other", "1.0", "add source file other-1.0.tar.gz", Kind.ADD_FILE),
        ("Some.Project", "2.0", "new release", Kind.NEW_RELEASE),
        ("other", None, "add Owner amy", Kind.ROLE),
    ]
    return [
        ChangelogEntry(100 + at, name, version, 1_700_000_000 + 10 * at, action, kind)
        for at, (name, version, action, kind) in enumerate(rows)
    ]


@contextlib.asynccontextmanager
async def calling(library: MemoryLibrary) -> AsyncIterator[Call]:
    """`await call("method", ...)`: a new client for each call, in a thread."""
    async with served(library, xmlrpc_calls.routes(library)) as address:

        def call(method: str, *parameters: Any) -> Any:
            with ServerProxy(f"{address}/pypi") as proxy:
                return getattr(proxy, method)(*parameters)

        async def in_thread(method: str, *parameters: Any) -> Any:
            return await asyncio.to_thread(call, method, *parameters)

        yield in_thread


async def test_the_journal(library: MemoryLibrary) -> None:
    """Rows by serial and by time, as PyPI writes them: a missing version is nil."""
    rows = [[e.name, e.version, e.time, e.action, e.serial] for e in library.journal]
    assert rows[0][1] is None
    async with calling(library) as call:
        assert BIG_SERIAL == await call("changelog_last_serial")
        assert rows == await call("changelog_since_serial", 99)
        assert rows[3:] == await call("changelog_since_serial", 102)
        assert [] == await call("changelog_since_serial", 104)
        assert rows[2:] == await call("changelog", 1_700_000_010, True)
        assert [row[:4] for row in rows[2:]] == await call("changelog", 1_700_000_010.9)
        assert [["Some.Project", "2.0"]] == await call("updated_releases", 1_700_000_010)
        assert ["other", "Some.Project"] == await call("changed_packages", 1_700_000_000)
        assert [] == await call("changed_packages", 1_700_000_040)


async def test_rows_that_are_not_held_are_not_left_out_silently(library: MemoryLibrary) -> None:
    """A fault names the serial, or the time, from which the journal here is whole."""
    library.base = 99
    async with calling(library) as call:
        for method, since in (
            ("changelog_since_serial", 98),
            ("changelog", 1_699_999_999),
            ("updated_releases", 1_699_999_999),
            ("changed_packages", 0),
        ):
            with pytest.raises(Fault) as caught:
                await call(method, since)
            assert -32500 == caught.value.faultCode
            assert ("serial 99" if "serial" in method else "1700000000") in caught.value.faultString
        assert 5 == len(await call("changelog_since_serial", 99))
        assert 4 == len(await call("changelog", 1_700_000_000))


async def test_a_journal_without_rows(library: MemoryLibrary) -> None:
    """Nothing is known of the time before it was read last; since then there was nothing."""
    library.journal, library.base = [], 104
    head = Head(104, 104, 1_700_000_500, (0,))
    view = library.view()
    assert view is not None
    library.view = lambda: view._replace(head=head)  # type: ignore[method-assign]
    async with calling(library) as call:
        assert [] == await call("changelog_since_serial", 104)
        assert [] == await call("changelog", 1_700_000_500)
        assert [] == await call("changed_packages", 1_700_000_500)
        with pytest.raises(Fault, match="whole from Unix time 1700000500"):
            await call("changelog", 1_700_000_499)


async def test_more_rows_than_a_page(
    library: MemoryLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of the library are joined up to the most of an answer; the next call goes on."""
    assert 50_000 == xmlrpc_journal.ROWS_MAX  # PyPI's
    monkeypatch.setattr(xmlrpc_journal, "ROWS_MAX", 2_500)
    library.write(
        ChangelogEntry(1_000 + at, f"p{at % 7}", None, 1_800_000_000 + at // 2, "", Kind.CHANGE)
        for at in range(2_600)
    )
    async with calling(library) as call:
        first = await call("changelog_since_serial", 999)
        assert list(range(1_000, 3_500)) == [row[4] for row in first]
        rest = await call("changelog_since_serial", 3_499)
        assert list(range(3_500, 3_600)) == [row[4] for row in rest]
        assert 2_500 == len(await call("changelog", 1_700_000_100))
        assert [f"p{at % 7}" for at in range(2_599, 2_592, -1)] == (
            await call("changed_packages", 1_800_000_000)
        )
        monkeypatch.setattr(xmlrpc_journal, "LOOKED_AT_MAX", 2_000)
        with pytest.raises(Fault, match="more than 2000 rows"):
            await call("changed_packages", 1_800_000_000)


async def test_lists_of_all_packages(library: MemoryLibrary) -> None:
    """Names as they spell themselves; more than a page of them; serials of 64 bits."""
    for at in range(1_500):
        library.put({**document("1", name=f"Proj.{at}"), "last_serial": 7})
    async with calling(library) as call:
        names = await call("list_packages")
        serials = await call("list_packages_with_serial")

    assert 1_503 == len(names) == len(set(names))
    assert {"Some.Project", "other", "wheel-parser", "Proj.1499"} <= set(names)
    assert set(names) == set(serials)
    assert (BIG_SERIAL, 7) == (serials["Some.Project"], serials["Proj.3"])


async def test_an_incomplete_list_is_not_given(library: MemoryLibrary) -> None:
    """Who takes what a half-filled log lacks for removed would remove it."""
    library.no_watermark = True
    async with calling(library) as call:
        for method in ("list_packages", "list_packages_with_serial"):
            with pytest.raises(Fault, match="not complete"):
                await call(method)


async def test_releases_and_their_files(library: MemoryLibrary) -> None:
    """The latest, or all; of a file what the document has, or what its slim form says."""
    async with calling(library) as call:
        assert ["2.0"] == await call("package_releases", "some_project")
        assert ["2.0", "1.0"] == await call("package_releases", "Some.Project", True)
        assert [] == await call("package_releases", "no such name!")
        assert [] == await call("package_releases", "nobodys")
        (wheel,) = await call("release_urls", "some-project", "2.0")
        (sdist,) = await call("package_urls", "some-project", "1.0")
        assert [] == await call("release_urls", "some-project", "9")
        assert [] == await call("release_urls", "nobodys", "9")
        with pytest.raises(Fault, match="only of the latest"):
            await call("release_urls", "other", "0.1")
        with pytest.raises(Fault, match="only the latest"):
            await call("package_releases", "other", True)

    assert {
        "filename": WHEEL,
        "packagetype": "bdist_wheel",
        "python_version": "py3",
        "size": 1234,
        "md5_digest": "ef" * 16,
        "sha256_digest": SHA256,
        "digests": {"md5": "ef" * 16, "sha256": SHA256},
        "has_sig": False,
        "upload_time": "2026-01-02T03:04:05.000006Z",
        "upload_time_iso_8601": "2026-01-02T03:04:05.000006Z",
        "comment_text": "",
        "downloads": -1,
        "path": WHEEL,
        "url": f"https://files.example.org/packages/{WHEEL}",
    } == wheel
    assert set(wheel) == set(sdist)
    assert (None, "source", f"ab/cd/{SDIST}") == (
        sdist["md5_digest"],
        sdist["python_version"],
        sdist["path"],
    )


async def test_metadata_of_the_latest_release(library: MemoryLibrary) -> None:
    """PyPI's keys; text that XML cannot hold comes with the rest of it; older ones are a fault."""
    async with calling(library) as call:
        data = await call("release_data", "some.project", "2.0")
        assert data == await call("package_data", "some.project", "2.0")
        assert {} == await call("release_data", "some.project", "3.0")
        assert {} == await call("release_data", "nobodys", "3.0")
        with pytest.raises(Fault, match=r"metadata of 1\.0 is not held"):
            await call("release_data", "some.project", "1.0")

    assert ("Some.Project", "2.0", ">=3.9") == tuple(
        data[key] for key in ("name", "version", "requires_python")
    )
    assert "A & <B>\r\ufffd" == data["author"]
    assert ["Source, https://code.example.org"] == data["project_url"]
    assert ['idna; extra == "all"'] == data["requires_dist"]
    assert (None, "", []) == (data["description"], data["stable_version"], data["obsoletes"])
    assert {"last_day": -1, "last_week": -1, "last_month": -1} == data["downloads"]


async def test_people_and_classifiers(library: MemoryLibrary) -> None:
    """Owners come before maintainers, names in order; a release must have all the classifiers."""
    async with calling(library) as call:
        roles = await call("package_roles", "Some-Project")
        assert [["Owner", "amy"], ["Owner", "bob"], ["Maintainer", "zoe"]] == roles
        assert [] == await call("package_roles", "nobodys")
        packages = await call("user_packages", "amy")
        assert [["Owner", "Some.Project"], ["Maintainer", "other"]] == packages
        assert [] == await call("user_packages", "nobody")
        assert [["other", "1.0"], ["wheel-parser", "3"]] == await call("browse", ["A"])
        assert [["other", "1.0"]] == await call("browse", ["B", "A"])
        assert "pypi-explicit" == await call("package_hosting_mode", "other")
        assert None is await call("package_hosting_mode", "nobodys")


async def test_search(library: MemoryLibrary) -> None:
    """By name and summary, with other fields beside them; any of several texts."""

    def names(found: list[dict[str, Any]]) -> list[str]:
        return [line["name"] for line in found]

    async with calling(library) as call:
        found = await call("search", {"summary": "wheels PARSES"})
        row = {"name": "other", "summary": "Parses wheels", "version": "1.0"}
        assert [{**row, "_pypi_ordering": False}] == found
        assert ["wheel-parser"] == names(await call("search", {"name": "Wheel_Parser"}))
        both = {"name": ["wheel"], "summary": "wheels"}
        assert {"other", "wheel-parser"} == set(names(await call("search", both, "or")))
        assert [] == await call("search", both)
        assert ["wheel-parser"] == names(
            await call("search", {"name": "wheel", "keywords": ["slow", "fast"]})
        )
        assert [] == await call("search", {"name": "wheel", "keywords": "slow"})
        assert [] == await call("search", {"nobody": "knows", "name": ""})
        for spec in ({"author": "x"}, {"description": "x", "name": "y"}):
            with pytest.raises(Fault, match="here"):
                await call("search", spec)


async def test_what_nobody_here_knows_is_a_fault_that_says_so(library: MemoryLibrary) -> None:
    async with calling(library) as call:
        for method, given in (("top_packages", (5,)), ("release_downloads", ("other", "1.0"))):
            with pytest.raises(Fault, match="download counts are not held"):
                await call(method, *given)
        with pytest.raises(Fault) as caught:
            await call("no_such_method")
        assert -32601 == caught.value.faultCode
        assert {"search", "browse", "changelog"} <= set(await call("system.listMethods"))


async def test_many_calls_at_once(library: MemoryLibrary) -> None:
    """A multicall has each answer or fault in its place; long answers are no part of one."""

    def calls(address: str) -> list[Any]:
        with ServerProxy(f"{address}/RPC2") as proxy:
            many = MultiCall(proxy)
            many.package_releases("other")
            many.top_packages()
            many.list_packages()
            many.changelog_since_serial(103)
            results = many()
            found = []
            for at in range(4):
                try:
                    found.append(results[at])
                except Fault as fault:
                    found.append(fault.faultString)
            return found

    async with served(library, xmlrpc_calls.routes(library)) as address:
        found = await asyncio.to_thread(calls, address)

    assert ["1.0"] == found[0]
    assert "download counts" in found[1]
    assert "by itself" in found[2]
    assert [["other", None, 1_700_000_040, "add Owner amy", 104]] == found[3]


async def test_another_pypistream_follows_it(library: MemoryLibrary) -> None:
    """Its client of PyPI reads the journal here, 64-bit serials and all."""
    library.write([ChangelogEntry(BIG_SERIAL + 5, "late", None, 1, "create", Kind.CREATE)])
    async with served(library, xmlrpc_calls.routes(library)) as address:
        upstream = HttpUpstream(ClientSettings(address, "me@example.org", rate=0))
        try:
            assert BIG_SERIAL + 5 == await upstream.last_serial()
            page = await upstream.journal_since(103)
        finally:
            await upstream.close()

    assert ([104, BIG_SERIAL + 5], [], False) == (
        [r.serial for r in page.rows],
        page.bad,
        page.full,
    )


async def test_before_anything_is_held() -> None:
    """A fault, not an empty list."""
    library = MemoryLibrary()
    library.view = lambda: None  # type: ignore[method-assign]
    async with calling(library) as call:
        for method, given in (
            ("changelog_last_serial", ()),
            ("list_packages", ()),
            ("package_releases", ("x",)),
            ("release_urls", ("x", "1")),
            ("package_roles", ("x",)),
            ("user_packages", ("x",)),
            ("browse", (["x"],)),
            ("search", ({"name": "x"},)),
        ):
            with pytest.raises(Fault, match="nothing can be served yet"):
                await call(method, *given)


async def test_a_project_that_is_gone(library: MemoryLibrary) -> None:
    library.remove(NormalizedName("other"), BIG_SERIAL + 1, 1_800_000_000)
    async with calling(library) as call:
        assert [] == await call("package_releases", "other")
        assert "other" not in await call("list_packages")

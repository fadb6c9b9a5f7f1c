"""`/v1/query`: its answers, one by GET and many by POST, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from schemas.names import NormalizedName
from schemas.records import State, Status
from sinks.http import queries
from tests.support.documents import document
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary

LINUX = "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"
FLAW = {"id": "PYSEC-1", "aliases": ["CVE-1"], "details": "long " * 99, "fixed_in": ["2.1"]}
NEEDS = [
    "idna>=2.5,<4",
    'colorama; sys_platform == "win32"',
    'PySocks!=1.5.7,>=1.5.6; extra == "socks"',
    'odd; platform_release == "7"',
    "direct @ https://example.org/x.whl",
    "pytz (>dev)",
]


def slim(filename: str, **changes: Any) -> dict[str, Any]:
    """A slim file."""
    url = f"https://files.example.org/{filename}"
    return {
        "filename": filename,
        "digests": {"sha256": "ab" * 32},
        "size": 10,
        "requires_python": ">=3.8",
        "upload_time_iso_8601": "2024-05-01T10:00:00.000000Z",
        "url": url,
        "yanked": False,
        **changes,
    }


@pytest.fixture
def library() -> MemoryLibrary:
    library = MemoryLibrary()
    latest = document("2.0", name="Re.quests", requires_dist=NEEDS)
    library.put(
        {**latest, "last_serial": 77, "vulnerabilities": [FLAW]},
        {
            "1.0": [slim("re_quests-1.0.tar.gz"), slim("re_quests-1.0-py2-none-any.whl")],
            "1.5": [slim("re_quests-1.5-py3-none-any.whl", yanked=True, yanked_reason="broken")],
            "2.0": [
                slim("re_quests-2.0.tar.gz", **{"core-metadata": False}),
                slim("re_quests-2.0-py3-none-any.whl", **{"core-metadata": {"sha256": "cd" * 32}}),
                slim(f"re_quests-2.0-{LINUX}.whl", requires_python=None),
            ],
            "3.0a1": [slim("re_quests-3.0a1-py3-none-any.whl", upload_time_iso_8601=None)],
        },
    )
    library.put(document("1", "2", name="only-latest"))
    return library


@pytest.fixture
async def client(library: MemoryLibrary) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(library, queries.routes(library)) as client:
        yield client


async def ask(client: httpx.AsyncClient, **parameters: Any) -> Any:
    """The answer to a GET."""
    answer = await client.get("/v1/query", params={"project": "re-quests", **parameters})
    assert 200 == answer.status_code, answer.text
    return answer.json()


def names(answer: Any) -> list[str]:
    return [each["filename"].removeprefix("re_quests-") for each in answer["files"]]


async def test_a_whole_answer(client: httpx.AsyncClient) -> None:
    """Files best first, then what is known of their releases."""
    machine = {"python": "3.11", "platform": "manylinux_2_28_x86_64", "extra": "Socks"}
    answer = await ask(client, **machine)

    assert [
        *(f"2.0-{LINUX}.whl", "2.0-py3-none-any.whl", "2.0.tar.gz", "1.0.tar.gz"),
    ] == names(answer)
    assert {
        "filename": "re_quests-2.0-py3-none-any.whl",
        "version": "2.0",
        "kind": "wheel",
        "url": "https://files.example.org/re_quests-2.0-py3-none-any.whl",
        "size": 10,
        "hashes": {"sha256": "ab" * 32},
        "requires_python": ">=3.8",
        "upload_time": "2024-05-01T10:00:00.000000Z",
        "core_metadata": {
            "url": "https://files.example.org/re_quests-2.0-py3-none-any.whl.metadata",
            "hashes": {"sha256": "cd" * 32},
        },
        "yanked": False,
        "yanked_reason": None,
    } == answer["files"][1]
    assert ("re-quests", "Re.quests", 77, "2.0", False, "all", 0, 4) == tuple(
        answer[key]
        for key in (
            *("project", "name", "serial", "latest", "stale"),
            *("releases_held", "releases_omitted", "fitting"),
        )
    )
    assert "linux" == answer["environment"]["sys_platform"]
    assert ["2.0", "1.0"] == list(answer["releases"])
    assert {"core_metadata": None, "dependencies": None, "vulnerabilities": None} == (
        answer["releases"]["1.0"]
    )
    latest = answer["releases"]["2.0"]
    assert answer["files"][1]["core_metadata"] == latest["core_metadata"]
    assert [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["2.1"]}] == (
        latest["vulnerabilities"]
    )
    assert [True, False, True, None, True, None] == [
        each["applies"] for each in latest["dependencies"]
    ]
    assert {
        "requirement": NEEDS[2],
        "name": "pysocks",
        "specifier": "!=1.5.7,>=1.5.6",
        "extras": [],
        "marker": 'extra == "socks"',
        "url": None,
        "applies": True,
    } == latest["dependencies"][2]
    assert (None, None) == tuple(latest["dependencies"][5][key] for key in ("name", "specifier"))
    assert "https://example.org/x.whl" == latest["dependencies"][4]["url"]


async def test_yanked_prerelease_before_limit(client: httpx.AsyncClient) -> None:
    """As pip has it if nothing is said; else as asked."""
    wheel = "1.5-py3-none-any.whl"
    assert wheel not in names(await ask(client))
    pinned = await ask(client, version="==1.5")
    assert [(True, "broken")] == [(f["yanked"], f["yanked_reason"]) for f in pinned["files"]]
    assert names(pinned) == names(await ask(client, version="1.5"))
    assert [] == names(await ask(client, version="==1.5", yanked="exclude"))
    assert wheel == names(await ask(client, yanked="include"))[-1]
    assert "3.0a1-py3-none-any.whl" == names(await ask(client, prerelease="true"))[0]
    assert "3.0a1-py3-none-any.whl" == names(await ask(client, version=">=3.0a1"))[0]
    assert [] == names(await ask(client, version=">2.5", prerelease="false"))
    assert ["3.0a1-py3-none-any.whl"] == names(await ask(client, version=">2.5"))
    assert [] == names(await ask(client, before="2024-05-01"))
    for moment in ("2024-05-02", "2024-05-01T10:00:01Z", "2024-05-01T12:00:01+02:00"):
        assert 5 == (await ask(client, before=moment))["fitting"]
    # A + that an address turned into a space.
    answer = await client.get("/v1/query?project=re-quests&before=2024-05-01T12:00:00+02:00")
    assert 0 == answer.json()["fitting"]
    short = await ask(client, limit=2)
    assert (2, 5) == (len(short["files"]), short["fitting"])


async def test_where_only_the_latest_is_held(client: httpx.AsyncClient) -> None:
    """The answer says so."""
    answer = await ask(client, project="Only_Latest", python="3.9")

    assert ("latest", "only-latest") == (answer["releases_held"], answer["project"])


async def test_a_batch(client: httpx.AsyncClient) -> None:
    """Answers in order, parameters shared, errors in their places."""
    body = {
        "python": "3.11",
        "queries": [
            {"project": "re-quests", "python": "2.7", "platform": ["win32"], "limit": 1},
            {"project": "nobodys"},
            {"project": "re-quests", "version": "not one"},
            {"project": "re-quests", "python": 3.1},
            {"project": "re-quests", "nonsense": "x"},
            "re-quests",
            {"project": "re-quests", "yanked": True, "before": None},
        ],
    }
    answer = await client.post("/v1/query", json=body)
    found = answer.json()["answers"]

    assert 200 == answer.status_code
    assert [404, 400, 400, 400, 400] == [each["status"] for each in found[1:6]]
    assert all(each["hint"] for each in found[1:6])
    assert [] == found[0]["files"]
    assert "2.7.0" == found[0]["environment"]["python_full_version"]
    assert "1.5-py3-none-any.whl" == names(found[6])[-1]


async def test_what_is_not_there(client: httpx.AsyncClient, library: MemoryLibrary) -> None:
    """404, and why."""
    library.remove(NormalizedName("only-latest"), 99, 1)
    library.owe(NormalizedName("owed"), State(Status.PARKED, 5))
    del library.slim[NormalizedName("re-quests")]
    for project, word in (
        *(("nobodys", "no project of that name"), ("only-latest", "serial 99"), ("owed", "parked")),
        ("re-quests", "/pypi/re-quests/json"),
    ):
        answer = await client.get("/v1/query", params={"project": project})

        assert 404 == answer.status_code
        assert word in answer.json()["hint"]
    library.view = lambda: None  # type: ignore[method-assign]
    assert 503 == (await client.get("/v1/query?project=x")).status_code
    assert 503 == (await client.post("/v1/query", content="{}")).status_code


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"project": ""},
        {"project": "no/name"},
        {"project": "x", "pythons": "3.11"},
        {"project": ["x", "y"]},
        {"project": "x", "python": "3"},
        {"project": "x", "platform": "windows nt"},
        {"project": "x", "platform": ["win32"] * 9},
        {"project": "x", "abi": "cp311"},
        {"project": "x", "version": ">=1,," + "," * 50},
        {"project": "x", "version": "latest"},
        {"project": "x", "version": ">=" + "1" * 999},
        {"project": "x", "yanked": "maybe"},
        {"project": "x", "prerelease": "1"},
        {"project": "x", "before": "yesterday"},
        {"project": "x", "before": "2024-13-01"},
        {"project": "x", "limit": "0"},
        {"project": "x", "limit": "5001"},
        {"project": "x", "limit": "-1"},
        {"project": "x", "limit": "9" * 500},
        {"project": "x", "extra": ["a"] * 51},
        {"project": "x", "extra": "-"},
    ],
)
async def test_parameters_that_are_none(client: httpx.AsyncClient, parameters: Any) -> None:
    """400 with a problem, never a guess."""
    answer = await client.get("/v1/query", params=parameters)

    assert 400 == answer.status_code
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"{}", 400),
        (b'{"queries": {}}', 400),
        (b'{"queries": [], "nonsense": "x"}', 400),
        (b'{"queries": ' + b"[" * 100_000, 400),
        (b'{"queries": [' + b",".join([b"{}"] * 201) + b"]}", 400),
        (b'{"queries": []' + b" " * 300_000 + b"}", 413),
        (b'{"queries": [], "python": "3.11"}', 200),
    ],
)
async def test_batches_that_are_none(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await client.post("/v1/query", content=body)

    assert status == answer.status_code
    assert (200 == status) == ("answers" in answer.json())


async def test_a_batch_has_room_for_so_many_files(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after is refused by itself, and says how to ask."""
    monkeypatch.setattr(queries, "BATCH_FILES_MAX", 7)
    query = {"project": "re-quests", "limit": 5}
    answer = await client.post("/v1/query", json={"queries": [query, query, {**query, "limit": 2}]})
    first, second, third = answer.json()["answers"]

    assert (5, 413, 2) == (len(first["files"]), second["status"], len(third["files"]))


async def test_a_batch_has_its_time(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is over, what is left of the batch is refused, and the answer comes."""
    monkeypatch.setattr(queries, "BATCH_SECONDS_MAX", -1.0)
    answer = await client.post("/v1/query", json={"queries": [{"project": "re-quests"}] * 3})

    assert [503] * 3 == [each["status"] for each in answer.json()["answers"]]


async def test_documents_of_any_shape(client: httpx.AsyncClient, library: MemoryLibrary) -> None:
    """Whatever stands where lists of texts should, the files come all the same."""
    for requires in (None, "idna", [1, None, "x" * 9_999, "a(" * 99], {"a": 1}):
        odd = document("2.0", name="odd", requires_dist=requires)
        files = {"2.0": [slim("odd-2.0.tar.gz")]}
        library.put({**odd, "vulnerabilities": requires, "last_serial": 1}, files)
        answer = await ask(client, project="odd", python="3.13")
        lines = answer["releases"]["2.0"]["dependencies"]

        assert ["odd-2.0.tar.gz"] == names(answer)
        assert all(line["applies"] is None for line in lines)


async def test_as_many_files_as_fit_a_record(
    client: httpx.AsyncClient, library: MemoryLibrary
) -> None:
    """20 000, half of them with names made to be hard to read."""
    releases = {
        str(major): [
            *(slim(f"big-{major}-{at}-py3-none-any.whl") for at in range(200)),
            *(slim(f"{'big-' * 40}{at}.tar.gz") for at in range(200)),
        ]
        for major in range(50)
    }
    library.put(document("1", name="big"), releases)
    answer = await ask(client, project="big", python="3.13", version=">=3,<9", limit=3)

    assert 6 * 200 == answer["fitting"]
    assert [f"big-8-{at}-py3-none-any.whl" for at in (199, 198, 197)] == names(answer)

"""`/metrics` and the log of requests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import structlog

from schemas.names import NormalizedName
from schemas.records import State, Status
from sinks.http.exposition import Family, family
from sinks.http.figures import FIGURES, Figures, read_figures, write_figures
from sinks.http.metrics import FAMILIES
from tests.support.memory_library import MemoryLibrary
from tests.support.service_world import asking, service
from tests.support.view_records import document

SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (-?[0-9.e+-]+)')


def samples(text: str) -> dict[str, float]:
    """By name and labels, as written; fails for a line that is none."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# "):
            assert line.split(" ", 3)[1] in ("HELP", "TYPE"), line
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] + (match[2] or "") not in found, line
        found[match[1] + (match[2] or "")] = float(match[3])
    return found


async def metrics(root: Path, library: MemoryLibrary) -> str:
    with asking(service(root, library).app()) as client:
        return (await client.get("/metrics")).text


async def test_every_family_is_there_once(tmp_path: Path) -> None:
    """Also before there is anything to tell; its kind and a word of help with it."""
    text = await metrics(tmp_path, MemoryLibrary())

    assert [f"# TYPE {each.name} {each.kind}" for each in FAMILIES] == re.findall(
        "^# TYPE .*$", text, re.MULTILINE
    )
    assert len({each.name for each in FAMILIES}) == len(FAMILIES) > 25
    for each in FAMILIES:
        assert each.name.startswith("pypistream_")
        assert each.name.endswith("_total") == (each.kind == "counter")


async def test_it_tells_of_the_view(tmp_path: Path) -> None:
    """Names by status, and what is owed; statuses that nobody has are 0, so that rules can ask."""
    library = MemoryLibrary()
    library.put(document("foo"))
    library.put(document("bar"))
    library.owe(NormalizedName("late"), State(Status.PARKED, 3, 0, reason="stale", attempts=1))
    found = samples(await metrics(tmp_path, library))

    assert found["pypistream_serving"] == 1
    assert found["pypistream_projects"] == 2
    assert found['pypistream_names{status="ok"}'] == 2
    assert found['pypistream_names{status="parked"}'] == 1
    assert found['pypistream_names{status="dead"}'] == 0


async def test_it_tells_what_the_fetching_process_noted(tmp_path: Path) -> None:
    """By role; a file that is half written or of no shape takes nothing else along."""
    state = tmp_path / "state"
    state.mkdir()
    write_figures(state, Figures("run", 1.0, 2.0, {"document": 5, "missing": 1}, 3, 4, {0: 7}))
    (state / FIGURES.format(role="broken")).write_text("{")
    found = samples(await metrics(tmp_path, MemoryLibrary()))

    assert found['pypistream_fetches_total{role="run",outcome="document"}'] == 5
    assert found['pypistream_fetches_total{role="run",outcome="missing"}'] == 1
    assert found['pypistream_fetches_queued{role="run"}'] == 3
    assert found['pypistream_fetches_in_flight{role="run"}'] == 4
    assert found['pypistream_changelog_lag_records{role="run",partition="0"}'] == 7
    assert found['pypistream_process_figures_age_seconds{role="run"}'] > 1e9
    assert [each.role for each in read_figures(state)] == ["run"]


async def test_requests_are_counted_by_route_and_not_by_path(tmp_path: Path) -> None:
    """Whatever clients think of: a path that is nobody's is `other`, a method, too."""
    library = MemoryLibrary()
    library.put(document("foo"))
    with asking(service(tmp_path, library).app()) as client:
        for path in ("/pypi/foo/json", "/pypi/none/json", "/pypi/Foo/json", "/v1/projects/foo"):
            await client.get(path)
        for number in range(20):
            await client.get(f"/nothing/{number}")
            await client.request("BREW", f"/v1/projects/{number}")
        found = samples((await client.get("/metrics")).text)
    counted = {name: n for name, n in found.items() if "http_requests_total" in name}

    def of(route: str, status: int, method: str = "GET") -> float:
        labels = f'route="{route}",method="{method}",status="{status}"'
        return counted[f"pypistream_http_requests_total{{{labels}}}"]

    assert of("/pypi/{name}/json", 200) == 1
    assert of("/pypi/{name}/json", 404) == 1
    assert of("/pypi/{name}/json", 301) == 1
    assert of("/v1/projects/{name}", 200) == 1
    assert of("/v1/projects/{name}", 405, "other") == 20
    assert of("other", 404) == 20
    assert len(counted) == 6
    assert found['pypistream_http_request_seconds_total{route="/v1/projects/{name}"}'] > 0
    assert found["pypistream_http_requests_open"] == 1


@pytest.mark.parametrize("told", [True, False])
async def test_requests_are_logged_if_wanted(tmp_path: Path, *, told: bool) -> None:
    """Each with its route, status and time; a long path is cut."""
    with (
        structlog.testing.capture_logs() as events,
        asking(service(tmp_path, MemoryLibrary(), told=told).app()) as client,
    ):
        await client.get("/v1/status")
        await client.get("/" + "x" * 1_000)

    assert [event["route"] for event in events] == (["/v1/status", "other"] if told else [])
    if told:
        assert (events[0]["method"], events[0]["status"]) == ("GET", 200)
        assert events[0]["client"] == "127.0.0.1"
        assert len(events[1]["path"]) == 200


def test_labels_are_escaped() -> None:
    """As the format wants it; a value that is not known has no line."""
    text = family(Family("a_total", "counter", "Help."), [({"x": 'a"b\\c\nd'}, 1), ({}, None)])

    assert text == '# HELP a_total Help.\n# TYPE a_total counter\na_total{x="a\\"b\\\\c\\nd"} 1\n'
    assert family(Family("b", "gauge", "H"), [({}, 0.25)]).endswith("b 0.25\n")

"""The import rule of `scripts/one_door.py`."""

from __future__ import annotations

import pytest
from grimp import ImportGraph

from scripts.one_door import OneDoorContract

DOORS = ["httpx: upstream.client", "streams.sqlite_*: streams.sqlite_* pypistream.wiring"]


def breaches(importer: str, imported: str) -> list[str]:
    """What the contract finds in a graph of one import."""
    graph = ImportGraph()
    graph.add_module("httpx", is_squashed=True)
    for module in {importer, imported} - {"httpx"}:
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported, line_number=3, line_contents="import")
    contract = OneDoorContract("doors", session_options={}, contract_options={"doors": DOORS})
    checked = contract.check(graph, verbose=False)

    found = [f"{b.importer}:{b.line_number} {b.imported}" for b in checked.metadata["breaches"]]
    assert checked.kept is (found == [])
    return found


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("upstream.client", "httpx"),
        ("upstream.client.pool", "httpx"),
        ("pypistream.wiring", "streams.sqlite_log"),
        ("streams.sqlite_log", "streams.sqlite_schema"),
        ("producers.changelog", "streams.log"),
    ],
)
def test_through_the_door(importer: str, imported: str) -> None:
    """The door itself, modules below it, and imports that no door guards."""
    assert breaches(importer, imported) == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("processors.fetching", "httpx"),
        ("upstream.clients", "httpx"),
        ("producers.changelog", "streams.sqlite_log"),
        ("streams.memory_log", "streams.sqlite_schema"),
    ],
)
def test_past_the_door(importer: str, imported: str) -> None:
    """Named with module and line."""
    assert breaches(importer, imported) == [f"{importer}:3 {imported}"]

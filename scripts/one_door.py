"""An import-linter contract: a library or an adapter is imported through its doors only.

import-linter's own `protected` contract wants every module listed and present; here both sides are
globs (`streams.sqlite_*`), so a new adapter is covered on the day it is written.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from grimp import ImportGraph


class Breach(NamedTuple):
    """An import that goes round the doors."""

    importer: str
    imported: str
    line_number: int | None
    doors: str


class OneDoorContract(Contract):
    """`doors`: lines of `IMPORTED: IMPORTER...`, all of them globs on full module names."""

    type_name = "one_door"

    doors = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - the base class's signature
        """Collect every import of something behind a door by a module that is no door."""
        breaches: list[Breach] = []
        for line in self.doors:  # type: ignore[attr-defined]  # a field turns into its value
            hidden, _, allowed = str(line).partition(":")
            for imported in sorted(m for m in graph.modules if _matches(m, hidden.strip())):
                importers = graph.find_modules_that_directly_import(imported)
                breaches += [
                    Breach(importer, imported, _line(graph, importer, imported), allowed.strip())
                    for importer in sorted(importers)
                    if not any(_matches(importer, door) for door in allowed.split())
                ]
        return ContractCheck(kept=not breaches, metadata={"breaches": breaches})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line per breach: where it is, and where it belongs."""
        for breach in check.metadata["breaches"]:
            output.print_error(
                f"- {breach.importer} (l.{breach.line_number}) imports {breach.imported}; "
                f"its door: {breach.doors}",
                bold=False,
            )


def _matches(module: str, pattern: str) -> bool:
    """True for the module itself and for what lies below it."""
    return fnmatchcase(module, pattern) or fnmatchcase(module, pattern + ".*")


def _line(graph: ImportGraph, importer: str, imported: str) -> int | None:
    details = graph.get_import_details(importer=importer, imported=imported)
    return details[0]["line_number"] if details else None

"""Comments on the tables behind the public views, for readers of the file itself."""

from __future__ import annotations

from sinks.duckdb.gone import REMOVED
from sinks.duckdb.literals import literal
from sinks.duckdb.public import (
    DEPENDENCIES,
    DEPENDENCY_COLUMNS,
    FILES,
    PROJECTS,
    RELEASES,
    View,
)
from sinks.duckdb.schema import PACKED, SCHEMA, TABLES, WAITING, Table
from sinks.duckdb.schema import PROGRESS as PROGRESS_TABLE
from sinks.duckdb.schema import RELEASES as RELEASES_TABLE
from sinks.duckdb.status import CHANGELOG, EXCEPTIONS, PROGRESS

MEMO = "memo"
_OWN_TABLES = {
    "project": "One row per project: what changes at once. Public in projects, dependencies, ...",
    "releases_of": "One row per project: its releases and files as lists side by side, texts of"
    " files as one text.",
    "state": "One row per name ever heard of: what is known of it.",
    "tombstone": "One row per project that is gone, as long as the log remembers why.",
    "removed_project": "Of projects that are gone: the row of project that was there last.",
    "removed_releases_of": "Of projects that are gone: the row of releases_of that was there last.",
    "unreadable": "One row per record that could not be read.",
    "changelog": "Upstream's journal.",
    "progress": "One row: the cut that this file stands at.",
    MEMO: "The sink's own notes, as JSON.",
    WAITING.name: "The sink's own: batches not in the tables yet; none in a published file.",
}
_VIEWS: dict[str, tuple[View, ...]] = {
    "project": (PROJECTS,),
    "releases_of": (PROJECTS, FILES),
    "state": (EXCEPTIONS,),
    "tombstone": (REMOVED,),
    "changelog": (CHANGELOG,),
    "progress": (PROGRESS,),
}
_OWN: dict[tuple[str, str], str] = {
    ("project", "project_urls"): "public as project_urls",
    ("project", "vulnerabilities"): "public as vulnerabilities",
    ("project", "roles"): "public as roles",
    ("project", "anomalies"): "public as anomalies",
    ("releases_of", "latest"): "the version in projects",
    ("releases_of", "serial"): RELEASES.columns["serial"][1],
    ("releases_of", "omitted"): "files left out of the record, because it would have been too long",
    ("releases_of", "url_base"): "of addresses that are base/12/34/56.../filename of the blake2b",
    ("releases_of", "url"): "per file: its address; NULL = the usual one, '' = none",
    ("releases_of", "core_metadata"): "per file, chr(31) between: hash of its METADATA",
    ("releases_of", "wheels"): "filename/version of each wheel that is for some platform, not any,"
    " but for those in musl_wheels",
    ("releases_of", "musl_wheels"): "the same of those with the word musllinux",
    ("releases_of", "anomalies"): "public as anomalies",
    ("state", "status"): "ok, absent, pending, parked, stale or dead",
    ("state", "gone"): "serial of the event that removed it, 0 = none did",
    ("state", "settled"): "false = a row of exceptions",
    (
        "unreadable",
        "key",
    ): "topic and name, or place, of the record; of a refused journal row its hash",
    ("unreadable", "topic"): "of the record",
    ("unreadable", "name"): "normalised project name (PEP 503)",
    ("unreadable", "offset"): "of the record in its partition; NULL = DuckDB refused its row",
    ("unreadable", "reason"): "why it could not be read",
    (MEMO, "key"): "which note",
    (MEMO, "value"): "JSON",
    (WAITING.name, "place"): "their order",
    (WAITING.name, "rows"): "a batch, for the version of the program that wrote it",
    (WAITING.name, "standing"): "where the sink stands after it, as JSON",
}
_PER_REQUIREMENT = "per requirement: "
_PER_RELEASE = "per version: "
_PER_FILE = "per file: "
_PACKED = "per file, chr(31) between: "


def comment_of(table: str, column: str) -> str:
    """What a column holds, in the words of the view that shows it. Raises KeyError if none does."""
    table = table.removeprefix("removed_")
    own = _OWN.get((table, column))
    if own is not None:
        return own
    if table == "releases_of" and column.startswith("release_") and column != "release_count":
        return _PER_RELEASE + RELEASES.columns[column.removeprefix("release_")][1]
    if table == "releases_of" and column in FILES.columns and column != "name":
        per_file = _PACKED if RELEASES_TABLE.columns[column] == PACKED else _PER_FILE
        return per_file + FILES.columns[column][1]
    if table == "project" and column in DEPENDENCY_COLUMNS:
        shown = column.removeprefix("dependency_")
        return _PER_REQUIREMENT + DEPENDENCIES.columns[shown][1]
    views = _VIEWS[table]
    return next(view.columns[column][1] for view in views if column in view.columns)


def comment_statements() -> list[str]:
    """COMMENT ON each table and each of its columns."""
    columns = {table.name: _columns(table) for table in (*TABLES, PROGRESS_TABLE, WAITING)}
    columns[MEMO] = ["key", "value"]
    statements = []
    for table, names in columns.items():
        path = f"{SCHEMA}.{table}"
        statements.append(f"COMMENT ON TABLE {path} IS {literal(_OWN_TABLES[table])}")
        statements += [
            f'COMMENT ON COLUMN {path}."{name}" IS {literal(comment_of(table, name))}'
            for name in names
        ]
    return statements


def _columns(table: Table) -> list[str]:
    return [table.key, *table.columns] if table.key else list(table.columns)

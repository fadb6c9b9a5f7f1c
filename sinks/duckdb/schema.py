"""The tables of the DuckDB view: one nested row per project, which is the unit of change.

Five flat tables would cost eight times as much per micro-batch at full size, so users get flat
views (`sinks.duckdb.public`) on these. Each row comes in as a JSON text; `Table.structure` tells
DuckDB how to read it. The SQL is limited to what DuckDB 1.2 understands, without types that need an
extension.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

import json
from dataclasses import dataclass

from sinks.release_rows import SEPARATOR

SCHEMA = "base"
# For a file that is filled in whole batches, or rewritten: row groups of 2 048 take a tenth more
# CPU to fill, and for each of them a checkpoint of later changes writes where its columns lie.
ROW_GROUP_ROWS = 8_192
# For a few rows at a time: a checkpoint rewrites the last row group that was appended to.
FEW_ROW_GROUP_ROWS = 2_048
VIEW_FORMAT = 13
"""Of the live file. Raise it whenever a table, a view or what waits for the tables
(`sinks.duckdb.staged.packed`) changes: the sink then rebuilds."""

TIMESTAMP = "TIMESTAMPTZ"  # shown in the time zone of the reader's session
# The texts of all files of a project in one, as `sinks.release_rows.packed` makes it (ADR 029).
# FSST, which the other texts have, compresses no column with a text above 4 KB in it.
PACKED = "VARCHAR USING COMPRESSION zstd"
# To delete a row its key is read, and with FSST those before it, too. It makes 1 % of the file.
KEY = "VARCHAR USING COMPRESSION uncompressed"


def texts_of(column: str) -> str:
    """SQL for the list of a PACKED column's texts; "" stands for NULL."""
    return f"string_split({column}, chr({ord(SEPARATOR)}))"


@dataclass(frozen=True, eq=False, slots=True)
class Table:
    """`key` is the PRIMARY KEY ("" = rows are only ever added); `columns` its others, by name."""

    name: str
    key: str
    columns: dict[str, str]

    @property
    def path(self) -> str:
        """Its name in SQL."""
        return f"{SCHEMA}.{self.name}"

    @property
    def stage(self) -> str:
        """The temporary table through which rows come in."""
        return f"stage_{self.name}"

    @property
    def row(self) -> str:
        """The temporary type of its rows: DuckDB reads `structure` anew for each statement."""
        return f"row_{self.name}"

    @property
    def structure(self) -> str:
        """What `from_json` makes of a row's text, as its second argument."""
        return json.dumps(self.types)

    @property
    def types(self) -> dict[str, str]:
        """Of `columns`: without how they are stored."""
        return {name: kind.partition(" USING ")[0] for name, kind in self.columns.items()}

    def ddl(self) -> str:
        """CREATE TABLE."""
        columns = [f'"{name}" {kind}' for name, kind in self.columns.items()]
        if self.key:
            columns.insert(0, f"{self.key} {KEY} PRIMARY KEY")
        return f"CREATE TABLE {self.path}({', '.join(columns)})"


# `requirement` to `parse_error` are parallel lists, as in RELEASES: of a list of structs all fields
# are read even for one, which takes twice as long. A shorter list has NULL for the rest.
PROJECT = Table(
    "project",
    "name",
    {
        "display_name": "VARCHAR",
        "version": "VARCHAR",
        "summary": "VARCHAR",
        "author": "VARCHAR",
        "author_email": "VARCHAR",
        "maintainer": "VARCHAR",
        "maintainer_email": "VARCHAR",
        "license": "VARCHAR",
        "license_expression": "VARCHAR",
        "license_files": "VARCHAR[]",
        "home_page": "VARCHAR",
        "download_url": "VARCHAR",
        "docs_url": "VARCHAR",
        "requires_python": "VARCHAR",
        "keywords": "VARCHAR",
        "platform": "VARCHAR",
        "description_content_type": "VARCHAR",
        "yanked": "BOOLEAN",
        "yanked_reason": "VARCHAR",
        "provides_extra": "VARCHAR[]",
        "dynamic": "VARCHAR[]",
        "organization": "VARCHAR",
        "classifiers": "VARCHAR[]",
        "project_urls": "STRUCT(label VARCHAR, url VARCHAR)[]",
        "requirement": "VARCHAR[]",
        "dependency": "VARCHAR[]",
        "specifier": "VARCHAR[]",
        "extras": "VARCHAR[][]",
        "marker": "VARCHAR[]",
        "extra": "VARCHAR[]",
        "dependency_url": "VARCHAR[]",
        "parse_error": "VARCHAR[]",
        "vulnerabilities": (
            "STRUCT(id VARCHAR, source VARCHAR, link VARCHAR, aliases VARCHAR[], summary VARCHAR,"
            f" details VARCHAR, fixed_in VARCHAR[], withdrawn {TIMESTAMP})[]"
        ),
        "roles": 'STRUCT("role" VARCHAR, "user" VARCHAR)[]',
        "uploaded": TIMESTAMP,
        "serial": "BIGINT",
        "event_serial": "BIGINT",
        "event_time": TIMESTAMP,
        "stale": "BOOLEAN",
        "source": "VARCHAR",
        "fetched_at": TIMESTAMP,
        "anomalies": "VARCHAR[]",
    },
)

# Parallel lists, not a list of structs: half the text, unnested as quickly. A `url` that is NULL is
# url_base/12/34/56789…/filename of the blake2b 123456789…, as nearly all are: leaving it out saves
# a third of the file. "" = there is none. `wheels` repeats names: of a list, all rows are read
# whatever the filter, and a question about one platform would read the names of all files. Of
# `musl_wheels` each has the word musllinux in it, of `wheels` none: the rarest that is asked for
# would be looked for among seven times as many.
RELEASES = Table(
    "releases_of",
    "name",
    {
        "latest": "VARCHAR",
        "serial": "BIGINT",
        "omitted": "BIGINT",
        "release_count": "BIGINT",
        "file_count": "BIGINT",
        "bytes": "BIGINT",
        "first_uploaded": TIMESTAMP,
        "last_uploaded": TIMESTAMP,
        "url_base": "VARCHAR",
        "release_version": "VARCHAR[]",
        "release_files": "INTEGER[]",
        "release_bytes": "BIGINT[]",
        "release_uploaded": f"{TIMESTAMP}[]",
        "release_yanked": "BOOLEAN[]",
        "release_yanked_reason": "VARCHAR[]",
        "version": PACKED,
        "filename": PACKED,
        "packagetype": PACKED,
        "size": "BIGINT[]",
        "sha256": PACKED,
        "blake2b": PACKED,
        "md5": PACKED,
        "requires_python": PACKED,
        "yanked": "BOOLEAN[]",
        "yanked_reason": PACKED,
        "uploaded": f"{TIMESTAMP}[]",
        "url": "VARCHAR[]",
        "core_metadata": PACKED,
        "wheels": "VARCHAR[]",
        "musl_wheels": "VARCHAR[]",
        "anomalies": "VARCHAR[]",
    },
)

STATE = Table(
    "state",
    "name",
    {
        "display_name": "VARCHAR",
        "status": "VARCHAR",
        "reason": "VARCHAR",
        "event_serial": "BIGINT",
        "serial": "BIGINT",
        "gone": "BIGINT",
        "attempts": "BIGINT",
        "first_attempt": TIMESTAMP,
        "next_attempt": TIMESTAMP,
        "settled": "BOOLEAN",
    },
)

TOMBSTONE = Table("tombstone", "name", {"reason": "VARCHAR", "serial": "BIGINT", "time": TIMESTAMP})

REMOVED_PROJECT = Table("removed_project", "name", PROJECT.columns)
REMOVED_RELEASES = Table("removed_releases_of", "name", RELEASES.columns)
REMOVED_OF = {PROJECT: REMOVED_PROJECT, RELEASES: REMOVED_RELEASES}
"""Where the last row of a project that is gone stays, or what `--keep-removed` leaves of it."""

UNREADABLE = Table(
    "unreadable",
    "key",
    {"topic": "VARCHAR", "name": "VARCHAR", "offset": "BIGINT", "reason": "VARCHAR"},
)

CHANGELOG = Table(
    "changelog",
    "",
    {
        "serial": "BIGINT",
        "name": "VARCHAR",
        "display_name": "VARCHAR",
        "version": "VARCHAR",
        "time": TIMESTAMP,
        "action": "VARCHAR",
        "kind": "VARCHAR",
        "source": "VARCHAR",
        "late": "BOOLEAN",
    },
)

KEYED = (PROJECT, RELEASES, STATE, TOMBSTONE, UNREADABLE)
TABLES = (*KEYED, *REMOVED_OF.values(), CHANGELOG)

PROGRESS = Table(
    "progress",
    "",
    {
        "log_id": "VARCHAR",
        "partitions": "INTEGER",
        "schema_version": "INTEGER",
        "releases": "VARCHAR",
        "include": "VARCHAR[]",
        "exclude": "VARCHAR[]",
        "head_serial": "BIGINT",
        "head_time": TIMESTAMP,
        "source": "VARCHAR",
        "watermark": "BIGINT",
        "base": "BIGINT",
        "reached": "BIGINT",
        "backfill_done": "BIGINT",
        "backfill_names": "BIGINT",
        "history_since": "BIGINT",
        "vector": (
            "STRUCT(partition INTEGER, changelog BIGINT, refetch BIGINT, metadata BIGINT,"
            " releases BIGINT, state BIGINT, base BIGINT, serial BIGINT, time BIGINT, low BIGINT)[]"
        ),
    },
)
"""One row: the cut that was published last."""

WAITING = Table("waiting", "", {"place": "BIGINT", "rows": "BLOB", "standing": "VARCHAR"})
"""Small batches in their order, which `TABLES` do not have yet: see `sinks.duckdb.intake`."""

MEMO = f"CREATE TABLE {SCHEMA}.memo(key VARCHAR PRIMARY KEY, value VARCHAR)"
"""The sink's own notes, as JSON: where it stands, what it has published."""


def table_statements() -> list[str]:
    """Make all tables, in an empty database."""
    return [
        f"CREATE SCHEMA {SCHEMA}",
        *(table.ddl() for table in (*TABLES, PROGRESS, WAITING)),
        MEMO,
    ]


def stage_statements() -> list[str]:
    """Make the temporary tables and types that batches come in through."""
    statements = []
    for table in TABLES:
        fields = ", ".join(f'"{name}" {kind}' for name, kind in table.types.items())
        statements.append(f"CREATE TEMP TYPE {table.row} AS STRUCT({fields})")
        statements.append(f"CREATE TEMP TABLE {table.stage}(key VARCHAR, doc VARCHAR)")
    return statements


def delete_named(table: Table) -> str:
    """Delete rows by a list of keys, its parameter: each is looked up in the index."""
    return f"DELETE FROM {table.path} WHERE {table.key} IN ?"


def delete_staged(table: Table) -> str:
    """Delete rows by the stage's keys, by scanning all keys of the table."""
    return f"DELETE FROM {table.path} WHERE {table.key} IN (SELECT key FROM {table.stage})"


def insert_progress() -> str:
    """Insert the one row; its columns are the parameters, the last of them as JSON."""
    *fields, vector = PROGRESS.columns
    kind = json.dumps(PROGRESS.columns[vector])
    return f"INSERT INTO {PROGRESS.path} VALUES ({'?, ' * len(fields)}from_json(?, '{kind}'))"


def insert_given(table: Table) -> str:
    """Insert rows from two lists, its parameters: their keys, and their texts."""
    given = "SELECT unnest($1::VARCHAR[]) AS key, unnest($2::VARCHAR[]) AS doc"
    return _insert_from(table, f"({given})", f'"{table.row}"')


def insert_statements(table: Table) -> list[str]:
    """Move the staged texts into their table and empty the stage. A NULL text is no row."""
    filled = f"{table.stage} WHERE doc IS NOT NULL"
    return [_insert_from(table, filled, table.structure), f"TRUNCATE {table.stage}"]


def _insert_from(table: Table, source: str, structure: str) -> str:
    """`source` has a `key` and a `doc`, which is the row as JSON, of this structure."""
    columns = ", ".join(f'"{name}"' for name in table.columns)
    key, key_value = (f"{table.key}, ", "key, ") if table.key else ("", "")
    return (
        f"INSERT INTO {table.path}({key}{columns}) SELECT {key_value}unnest(row_) FROM"
        f" (SELECT key, from_json(doc, '{structure}') AS row_ FROM {source})"
    )

"""The file `serving.sqlite`: its tables, and how it is opened.

Documents are in a table of their own, keyed by number: one lookup in the index of names and one in
the table find it (a table WITHOUT ROWID is six times slower with rows of this size). What lists and
pages need is in other tables, so that no list reads documents.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from streams.connections import open_connection

SERVING_FORMAT = 2
"""Of the file. Raise it whenever a table changes, or what is put into it: it is built anew then."""

APPLICATION_ID = 0x70795376  # "pySv": `file` and we recognise our own
PAGE_BYTES = 8192  # a document of the usual 3 KB lies in one page
WRITER_CACHE_KIB = 96 * 1024  # the inner pages, and what a batch changes, at PyPI's size
READER_CACHE_KIB = 96 * 1024  # all pages of the index of names at PyPI's size (40 MB), and more
CHECKPOINT_PAGES = 4_000  # 32 MB: what the file is behind the WAL
WAL_BYTES_KEPT = 64 * 1024 * 1024  # after one huge batch the WAL shrinks to this
STATEMENTS_CACHED = 128

_TABLES = """
CREATE TABLE memo (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE name (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    serial INTEGER,  -- of the published document, NULL = none is
    display_name TEXT, version TEXT, summary TEXT
);
CREATE TABLE document (
    id INTEGER PRIMARY KEY, serial INTEGER NOT NULL, etag TEXT NOT NULL, stale INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE relations (id INTEGER PRIMARY KEY, packed BLOB NOT NULL);
CREATE TABLE releases (
    id INTEGER PRIMARY KEY, omitted INTEGER NOT NULL, packed INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE gone_file (
    id INTEGER NOT NULL, filename TEXT NOT NULL, version TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (id, filename)
) WITHOUT ROWID;
CREATE TABLE state (
    id INTEGER PRIMARY KEY, status TEXT NOT NULL, exception INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX exceptions ON state (id) WHERE exception;
CREATE TABLE tombstone (
    id INTEGER PRIMARY KEY, reason TEXT NOT NULL, serial INTEGER NOT NULL, time INTEGER NOT NULL
);
CREATE INDEX removed ON tombstone (serial, id);
CREATE TABLE dependency (
    dependency INTEGER NOT NULL, dependent TEXT NOT NULL, optional INTEGER NOT NULL,
    requirements TEXT NOT NULL,
    PRIMARY KEY (dependency, dependent)
) WITHOUT ROWID;
CREATE TABLE role (
    user TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (user, name, role)
) WITHOUT ROWID;
CREATE TABLE classifier (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE classified (
    classifier INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (classifier, name)
) WITHOUT ROWID;
CREATE TABLE changelog (
    serial INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    id INTEGER NOT NULL, display_name TEXT NOT NULL, version TEXT, time INTEGER NOT NULL,
    action TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL,
    PRIMARY KEY (serial, partition, offset)
) WITHOUT ROWID;
CREATE INDEX changelog_of ON changelog (id, serial);
CREATE VIRTUAL TABLE words USING fts5 (name, summary, prefix='2 3', tokenize='unicode61');
"""


def connect(path: Path, *, cache_kib: int, create: bool = False) -> sqlite3.Connection:
    """A connection with our settings. Raises sqlite3.Error."""
    pragmas = (
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        # A power cut may take the last commits: rows and positions go together, so that they
        # are read from the log again.
        "synchronous = NORMAL",
        f"cache_size = -{cache_kib}",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {WAL_BYTES_KEPT}",
        "temp_store = MEMORY",
    )
    return open_connection(path, pragmas, statements_cached=STATEMENTS_CACHED, create=create)


def create_tables(connection: sqlite3.Connection) -> None:
    """All of them, in one transaction: a creation that was killed leaves an empty file."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SERVING_FORMAT}")
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute("COMMIT")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether there is no table."""
    return not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether this version made the file."""
    [(application,)] = connection.execute("PRAGMA application_id").fetchall()
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    return (application, version) == (APPLICATION_ID, SERVING_FORMAT)

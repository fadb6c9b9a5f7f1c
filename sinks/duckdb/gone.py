"""The public views about what is gone."""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from sinks.duckdb.public import FILES, NAME, STORED_URL, View, places, shown
from sinks.duckdb.schema import REMOVED_PROJECT, REMOVED_RELEASES, STATE, TOMBSTONE, texts_of

_GONE = "s.gone > 0 AND (s.serial > 0 OR t.name IS NOT NULL)"
_WITH_ALL = "; NULL unless run with --keep-removed all"


def _texts(column: str) -> str:
    """Of the files last held, of which there may be none; NULL where they are not known."""
    return f"CASE WHEN r.name IS NOT NULL THEN coalesce({texts_of(column)}, []) END"


REMOVED = View(
    "removed",
    "Projects that were here and are gone, with what was last held of them. `held` false: that is"
    " not known here, because the project was gone before this file began, or with"
    " --keep-removed none.",
    f"(SELECT s.name, s.display_name, coalesce(t.reason, s.reason) AS reason,"
    f" coalesce(t.serial, s.gone) AS serial, t.time AS time,"
    f" coalesce(p.version, r.latest) AS version, coalesce(p.serial, r.serial) AS last_serial,"
    f" (p.name IS NOT NULL OR r.name IS NOT NULL) AS held, {_texts('r.filename')} AS filenames,"
    f" {_texts('r.sha256')} AS sha256, p.summary,"
    f" p.author, p.author_email, p.home_page, p.uploaded"
    f" FROM {STATE.path} AS s LEFT JOIN {TOMBSTONE.path} AS t ON t.name = s.name"
    f" LEFT JOIN {REMOVED_PROJECT.path} AS p ON p.name = s.name"
    f" LEFT JOIN {REMOVED_RELEASES.path} AS r ON r.name = s.name WHERE {_GONE})",
    {
        **shown(
            name=NAME,
            display_name="the author's spelling",
            reason="removed, quarantined, or no-releases",
            serial="of the event that removed it",
            time="when that event happened; NULL if the log has forgotten it (30 days)",
            version="the latest version last held",
            last_serial="upstream's serial of the document last held",
            held="false: what it had is not known here; NULL elsewhere then says nothing",
        ),
        **shown(
            filenames="names of the files last held, all versions; removed_files",
            sha256="their hashes (hex), in the same order; empty text = has none",
            summary="one line about the project" + _WITH_ALL,
            author="free text" + _WITH_ALL,
            author_email="free text" + _WITH_ALL,
            home_page="address given by the author" + _WITH_ALL,
            uploaded="upload of the first file of the version" + _WITH_ALL,
        ),
    },
)


def _with_all(value: str, comment: str) -> tuple[str, str]:
    return value, comment + _WITH_ALL


_KEPT = ("version", "filename", "sha256")
_MORE = ("packagetype", "size", "requires_python", "yanked", "uploaded")

_FILES_HELD = places(
    REMOVED_RELEASES,
    ("name", "url_base", "file_count"),
    {name: name for name in (*_KEPT, *_MORE, "blake2b", "url")},
    f"len({texts_of('filename')})",
)
REMOVED_FILES = View(
    "removed_files",
    "One row per file last held of a project that is gone. Where removed.held is false there are"
    " none here, though it may have had some.",
    f"(SELECT k.* FROM {_FILES_HELD} AS k JOIN {STATE.path} AS s ON s.name = k.name"
    f" LEFT JOIN {TOMBSTONE.path} AS t ON t.name = s.name WHERE {_GONE})",
    {
        "name": ("name", NAME),
        **{name: FILES.columns[name] for name in _KEPT},
        **{name: _with_all(*FILES.columns[name]) for name in _MORE},
        "url": _with_all(
            f"CASE WHEN file_count IS NOT NULL THEN {STORED_URL} END", "where it was served"
        ),
    },
)

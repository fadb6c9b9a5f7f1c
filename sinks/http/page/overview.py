"""What the first page shows: how things stand, the last hour, what is new, and the dumps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.errors import InvalidName
from schemas.manifest import Manifest
from schemas.names import NormalizedName, normalize
from schemas.records import ChangelogEntry, Kind
from sinks.duckdb.status import VIEWS
from sinks.http.dumps import ROOT, immutable_url, made_at
from sinks.http.library import PAGE_MAX, Library, Listed, Removed

FEED_SHOWN = 20
NEWEST_SHOWN = 10
REMOVED_SHOWN = 10
BAR_UNITS = 10  # width of a minute in the chart that is drawn without scripts
CHART_UNITS = 100  # its height

_FORMATS = {
    "pypicache.json.zst": ("JSON array", "PyPI's document of each project, as pypicache has it"),
    "packages.jsonl.zst": ("JSON lines", "document of each project, with what is known of it"),
    "releases.jsonl.zst": ("JSON lines", "every release of each project, with its files"),
    "state.jsonl.zst": ("JSON lines", "every name ever heard of, and its status"),
    "latest.csv.zst": ("CSV", "name, version and serial of each project"),
    "pypi.duckdb": ("DuckDB", "all tables in one file"),
}
_TABLE = ".parquet"
_TABLES = {view.name: view.comment.partition(". ")[0].rstrip(".") for view in VIEWS}


class NewProject(NamedTuple):
    """A project that appeared; `listed` None: nothing of it is published yet, or any more."""

    entry: ChangelogEntry
    name: NormalizedName
    listed: Listed | None


class DumpLine(NamedTuple):
    """A file of the newest dump. `rows` are packages, in a table (`is_table`) what it lists."""

    name: str
    format: str
    what: str
    rows: int
    is_table: bool
    bytes: int
    uncompressed_bytes: int
    generated: str
    sha256: str
    url: str
    immutable_url: str


class Bar(NamedTuple):
    """A minute in the chart: left edge, top and height, in units of the drawing."""

    x: int
    y: float
    height: float


class Chart(NamedTuple):
    """Changes per minute. `end`: Unix time at which the last minute begins."""

    counts: Sequence[int]
    end: int
    total: int
    most: int
    bars: Sequence[Bar]
    width: int


class Overview(NamedTuple):
    """All but the status."""

    feed: Sequence[tuple[ChangelogEntry, NormalizedName | None]]
    newest: Sequence[NewProject]
    removed: Sequence[Removed]
    dumps: Sequence[DumpLine]
    manifest: Manifest | None
    chart: Chart


def overview(
    library: Library, manifest: Manifest | None, counts: Sequence[int], now: float
) -> Overview:
    """Of the library's present cut. Raises what the library raises."""
    return Overview(
        feed=named(library.recent(frozenset(), limit=FEED_SHOWN)),
        newest=_newest(library),
        removed=library.removed(limit=REMOVED_SHOWN),
        dumps=dump_lines(manifest) if manifest else (),
        manifest=manifest,
        chart=chart_of(counts, now),
    )


def named(
    rows: Sequence[ChangelogEntry],
) -> Sequence[tuple[ChangelogEntry, NormalizedName | None]]:
    """Rows with the names of their projects' pages; what is no name (there were such) has none."""
    return [(row, _normalized(row.name)) for row in rows]


def _normalized(name: str) -> NormalizedName | None:
    try:
        return normalize(name)
    except InvalidName:
        return None


def _newest(library: Library) -> Sequence[NewProject]:
    found: dict[NormalizedName, NewProject] = {}
    for entry, name in named(library.recent(frozenset({Kind.CREATE}), limit=4 * NEWEST_SHOWN)):
        if name is not None and name not in found and len(found) < NEWEST_SHOWN:
            found[name] = NewProject(entry, name, library.listed(name))
    return list(found.values())


def dump_lines(manifest: Manifest) -> Sequence[DumpLine]:
    """A line per file: those of a known kind first, in the order in which they are described."""
    order = [*(name for name in _FORMATS if name in manifest.files)]
    order += sorted(set(manifest.files) - set(order))
    lines = []
    for name in order:
        file = manifest.files[name]
        table = _TABLES.get(name.removesuffix(_TABLE), "")
        kind, what = _FORMATS.get(name, ("Parquet" if name.endswith(_TABLE) else "file", table))
        lines.append(
            DumpLine(
                name=name,
                format=kind,
                what=what,
                rows=file.rows,
                is_table=name not in _FORMATS,
                bytes=file.bytes,
                uncompressed_bytes=file.uncompressed_bytes,
                generated=made_at(name, manifest)[0],
                sha256=file.sha256,
                url=f"{ROOT}{name}",
                immutable_url=immutable_url(name, file),
            )
        )
    return lines


def chart_of(counts: Sequence[int], now: float) -> Chart:
    """Bars that fill the drawing's height with the most that a minute had."""
    most = max(counts, default=0)
    bars = []
    for place, count in enumerate(counts):
        height = round(CHART_UNITS * count / most, 2) if most else 0.0
        bars.append(Bar(place * BAR_UNITS + 1, round(CHART_UNITS - height, 2), height))
    end = int(now) // 60 * 60
    return Chart(counts, end, sum(counts), most, bars, len(counts) * BAR_UNITS)


assert 4 * NEWEST_SHOWN <= PAGE_MAX, "a page of the library"

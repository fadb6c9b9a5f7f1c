"""The public views of the DuckDB file: flat, with a comment on each column.

The SQL is limited to what DuckDB 1.2 understands, without JSON functions (its browser build lacks
them). docs/duckdb-reference.md is generated from these definitions.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sinks.duckdb.literals import literal
from sinks.duckdb.schema import PACKED, PROJECT, SCHEMA, Table, texts_of
from sinks.duckdb.schema import RELEASES as RELEASES_TABLE
from sinks.duckdb.versions import IS_DEVRELEASE, IS_PEP440, IS_POSTRELEASE, IS_PRERELEASE, KEY


class View(NamedTuple):
    """One public view; `columns` = name -> (expression over `source`, comment)."""

    name: str
    comment: str
    source: str
    columns: dict[str, tuple[str, str]]

    def statements(self) -> list[str]:
        """CREATE VIEW and its comments."""
        columns = ", ".join(f'{value} AS "{name}"' for name, (value, _) in self.columns.items())
        return [
            f"CREATE VIEW {self.name} AS SELECT {columns} FROM {self.source}",
            f"COMMENT ON VIEW {self.name} IS {literal(self.comment)}",
            *(
                f'COMMENT ON COLUMN {self.name}."{name}" IS {literal(comment)}'
                for name, (_, comment) in self.columns.items()
            ),
        ]


def shown(**comments: str) -> dict[str, tuple[str, str]]:
    """Columns that are shown as they are."""
    return {name: (f'"{name}"', comment) for name, comment in comments.items()}


def shown_of(alias: str, **comments: str) -> dict[str, tuple[str, str]]:
    """The same for one of several sources."""
    return {name: (f'{alias}."{name}"', comment) for name, comment in comments.items()}


def places(
    table: Table, beside: Sequence[str], lists: Mapping[str, str], count: str, place: str = "place"
) -> str:
    """A source with a row for each place of lists that stand side by side in a row of `table`.

    `beside`: columns that are the same for all of them; `lists`: by the name it is to have, a
    column with a list or packed texts; `count`: SQL for how long they are, a shorter one has NULL.
    UNNEST of lists takes all of them apart, whatever is asked for. Here it only counts, and what is
    asked for is looked up, so that nothing else is read. Texts are split further in: else that
    would be done for each place anew.
    """
    own = ", ".join(beside)
    found = ", ".join(
        f"{texts_of(column) if table.columns[column] == PACKED else column} AS {name}"
        for name, column in lists.items()
    )
    picked = ", ".join(f"list_extract({name}, {place}) AS {name}" for name in lists)
    return (
        f"(SELECT {own}, {place}, {picked} FROM (SELECT *, unnest(range(1, held + 1)) AS {place}"
        f" FROM (SELECT {own}, {count} AS held, {found} FROM {table.path})))"
    )


def utc(moment: str) -> str:
    """A time as a plain TIMESTAMP in UTC, whatever the session's time zone."""
    return f"make_timestamp(epoch_us({moment}))"


NAME = "normalised project name (PEP 503); norm('Some.Name') makes it"
LATEST = "version that the project's document describes: the latest, as the index ranks them"

# Grouped, although `name` is a key: DuckDB drops a join of which no column is asked for if it sees
# that the join adds no rows, which it does for groups but not for keys. Queries for the totals take
# longer.
_TOTALS = (
    "(SELECT name, "
    + ", ".join(
        f"any_value({column}) AS {column}"
        for column in ("release_count", "file_count", "bytes", "first_uploaded", "last_uploaded")
    )
    + f" FROM {SCHEMA}.releases_of GROUP BY name)"
)

PROJECTS = View(
    "projects",
    "One row per project, as its latest release describes it. Empty text and the word UNKNOWN,"
    " upstream's older spellings of nothing, are NULL.",
    f"{SCHEMA}.project AS p LEFT JOIN {_TOTALS} AS r ON r.name = p.name",
    {
        **shown_of(
            "p",
            name=NAME,
            display_name="the author's spelling of the name",
            version=LATEST,
            summary="one line about the project",
            author="free text",
            author_email="free text, often `Name <address>, Name <address>`",
            maintainer="free text",
            maintainer_email="free text, as author_email",
            license="free text, sometimes the whole licence",
            license_expression="SPDX expression (PEP 639)",
            license_files="paths of licence files within the distribution",
            home_page="address given by the author; newer projects have it in project_urls",
            download_url="address given by the author",
            docs_url="address of hosted documentation, old projects only",
            requires_python="Python versions it says it works with (PEP 440 specifiers)",
            keywords="one text, separated by commas or blanks",
            platform="free text",
            description_content_type="media type of the description, which is not kept here",
            yanked="true if every file of the version is yanked (PEP 592)",
            yanked_reason="why it was yanked",
            provides_extra="names of its extras",
            dynamic="metadata fields that may differ from file to file (PEP 643)",
            organization="organisation that owns the project",
            classifiers="trove classifiers, in upstream's order",
            uploaded="when the first file of the version was uploaded",
        ),
        "release_count": ("r.release_count", "how many versions it has, those without files too"),
        "file_count": ("r.file_count", "how many files it has, all versions"),
        "bytes": ("r.bytes", "size of all its files"),
        "first_uploaded": ("r.first_uploaded", "upload of its oldest file"),
        "last_uploaded": ("r.last_uploaded", "upload of its newest file, of any version"),
        "dependency_count": ("len(p.requirement)", "how many rows it has in dependencies"),
        **shown_of(
            "p",
            serial="upstream's serial of this document (last_serial)",
            event_serial="serial of the newest change known when it was published",
            event_time="when that change happened",
            stale="true if the document was older than that change when it was published",
            source="API that the document came from",
            fetched_at="when it was fetched",
        ),
    },
)

PER_RELEASE = ("version", "files", "bytes", "uploaded", "yanked", "yanked_reason")
"""Columns of `releases_of`, after `release_`, that have something per version."""

RELEASES = View(
    "releases",
    "One row per version of each project, also those without files.",
    places(
        RELEASES_TABLE,
        ("name", "latest", "serial"),
        {name: f"release_{name}" for name in PER_RELEASE},
        "release_count",
        "ordinal",
    ),
    {
        **shown(
            name=NAME,
            version="as upstream spells it, not always a PEP 440 version",
            ordinal="place in the order of versions (PEP 440), 1 = lowest",
            files="number of files",
            bytes="size of all its files",
            uploaded="upload of its first file; NULL if it has none",
            yanked="true if it has files and all are yanked",
            yanked_reason="the first reason given",
        ),
        "is_latest": ("coalesce(version = latest, false)", "true for the version in projects"),
        "is_pep440": (IS_PEP440, "true if it is a version by PEP 440"),
        "is_prerelease": (
            IS_PRERELEASE,
            "true for alphas, betas, candidates and development versions (PEP 440)",
        ),
        "is_postrelease": (IS_POSTRELEASE, "true for post-releases (PEP 440)"),
        "is_devrelease": (IS_DEVRELEASE, "true for development versions (PEP 440)"),
        "sort_key": (
            KEY,
            "text that sorts as PEP 440 has it, as version_key(version); NULL if it is no version",
        ),
        "serial": ("serial", "upstream's serial of the document this was read from"),
    },
)

_WHEEL = "CASE WHEN packagetype = 'bdist_wheel' AND filename LIKE '%.whl' THEN"


def said(**comments: str) -> dict[str, tuple[str, str]]:
    """Columns that are shown as they are, but for "", which is NULL."""
    return {name: (f"nullif({name}, '')", comment) for name, comment in comments.items()}


_USUAL_URL = "concat_ws('/', url_base, blake2b[:2], blake2b[3:4], blake2b[5:], filename)"
STORED_URL = f"nullif(coalesce(url, {_USUAL_URL}), '')"

PER_FILE = (
    "version",
    "filename",
    "packagetype",
    "size",
    "sha256",
    "blake2b",
    "md5",
    "requires_python",
    "yanked",
    "yanked_reason",
    "uploaded",
    "url",
    "core_metadata",
)
"""Columns of `releases_of` that have something per file."""

FILES = View(
    "files",
    "One row per file of every version (with `--releases latest`: of the latest one).",
    places(
        RELEASES_TABLE,
        ("name", "latest", "url_base"),
        {name: name for name in PER_FILE},
        "file_count",
    ),
    {
        **shown(
            name=NAME,
            version="version it belongs to, as upstream spells it",
            filename="name of the file",
        ),
        **said(packagetype="sdist, bdist_wheel; bdist_egg and others in old projects"),
        **shown(size="bytes"),
        **said(
            sha256="hex",
            blake2b="BLAKE2b-256, hex; upstream has it since 2023",
            md5="hex; only where there is no sha256",
            requires_python="PEP 440 specifiers; may differ from file to file",
        ),
        **shown(yanked="PEP 592"),
        **said(yanked_reason="why it was yanked"),
        **shown(uploaded="when it was uploaded"),
        "url": (STORED_URL, "where it is served"),
        "core_metadata_sha256": (
            "nullif(core_metadata, '')",
            "hash of its METADATA, served at url || '.metadata' (PEP 658); NULL = it is not",
        ),
        "python_tag": (
            f"{_WHEEL} reverse(split_part(reverse(filename[:-5]), '-', 3)) END",
            "of a wheel: Python tag, e.g. py3 or cp311 (PEP 425)",
        ),
        "abi_tag": (
            f"{_WHEEL} reverse(split_part(reverse(filename[:-5]), '-', 2)) END",
            "of a wheel: ABI tag, e.g. none, abi3, cp311",
        ),
        "platform_tag": (
            f"{_WHEEL} reverse(split_part(reverse(filename[:-5]), '-', 1)) END",
            "of a wheel: platform tag, e.g. any",
        ),
        "is_latest": ("coalesce(version = latest, false)", "true for files of the latest version"),
    },
)


def _unnested(column: str, alias: str) -> str:
    return f"(SELECT name, version, unnest({column}) AS {alias} FROM {SCHEMA}.project)"


DEPENDENCY_COLUMNS = (
    "requirement",
    "dependency",
    "specifier",
    "extras",
    "marker",
    "extra",
    "dependency_url",
    "parse_error",
)
DEPENDENCIES = View(
    "dependencies",
    "One row per requirement (Requires-Dist) of the latest version. Where the text is no valid"
    " requirement (PEP 508), only name, version, requirement and parse_error are there.",
    places(
        PROJECT,
        ("name", "version"),
        {name: name for name in DEPENDENCY_COLUMNS},
        "len(requirement)",
    ),
    {
        **shown(
            name=NAME,
            version=LATEST,
            requirement="the text as upstream has it",
            dependency="normalised name of the project that is required",
            specifier="versions wanted, empty = any",
            extras="extras wanted of the dependency",
            marker="environment marker, NULL = none",
            extra="the extra of this project that asks for it, NULL = always required",
        ),
        "url": ("dependency_url", "of a direct reference"),
        **shown(parse_error="why the text is no valid requirement; NULL: it is one"),
    },
)

CLASSIFIERS = View(
    "classifiers",
    "One row per trove classifier of the latest version.",
    _unnested("classifiers", "classifier"),
    {**shown(name=NAME, version=LATEST, classifier="e.g. Framework :: Django :: 5.0")},
)

_LABEL = "lower(regexp_replace(u.label, '[[:punct:][:space:]]', '', 'g'))"
_KINDS = {
    "homepage": "homepage",
    "source": "source repository sourcecode github",
    "download": "download",
    "changelog": "changelog changes whatsnew history",
    "releasenotes": "releasenotes",
    "documentation": "documentation docs",
    "issues": "issues bugs issue tracker issuetracker bugtracker",
    "funding": "funding sponsor donate donation",
}
_KIND = (
    f"CASE {_LABEL} "
    + " ".join(
        f"WHEN '{label}' THEN '{kind}'"
        for kind, labels in _KINDS.items()
        for label in labels.split()
    )
    + " END"
)

PROJECT_URLS = View(
    "project_urls",
    "One row per labelled address of the latest version.",
    _unnested("project_urls", "u"),
    {
        **shown(name=NAME, version=LATEST),
        **shown_of("u", label="free text, any language, any case", url="as the author wrote it"),
        "label_key": (_LABEL, "the label as it is compared (PEP 753): no blanks, no punctuation"),
        "kind": (
            _KIND,
            f"what the label says it is (PEP 753): {', '.join(_KINDS)}; NULL = none of these",
        ),
    },
)

VULNERABILITIES = View(
    "vulnerabilities",
    "One row per known vulnerability of the latest version, as of projects.fetched_at.",
    _unnested("vulnerabilities", "v"),
    {
        **shown(name=NAME, version=LATEST),
        **shown_of(
            "v",
            id="e.g. PYSEC-2024-1 or a GHSA id; one flaw may be listed under both",
            source="database it comes from",
            link="its page there",
            aliases="other ids of the same flaw, e.g. CVE numbers",
            summary="one line",
            details="text",
            fixed_in="versions that do not have it any more",
            withdrawn="when the entry was withdrawn",
        ),
    },
)

ROLES = View(
    "roles",
    "One row per user with a role in the project, as of projects.fetched_at.",
    _unnested("roles", "o"),
    {
        "name": ("name", NAME),
        **shown_of("o", role="Owner or Maintainer", user="account name on the index"),
    },
)

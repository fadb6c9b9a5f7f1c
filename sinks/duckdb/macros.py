"""The macros of the DuckDB file: questions with parameters, each with a comment.

Among them are the dead methods of PyPI's XML-RPC API. A macro fails with a message if its answer is
not held in the file: an empty result always means that there is nothing. The SQL is limited to what
DuckDB 1.2 understands. No parameter has the name of a column, which would hide it.
"""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from typing import NamedTuple

from sinks.duckdb.literals import literal
from sinks.duckdb.public import utc
from sinks.duckdb.schema import SCHEMA
from sinks.duckdb.versions import KEY


class Macro(NamedTuple):
    """`parameters` as written in SQL; `table`: it returns rows, for use after FROM."""

    name: str
    parameters: str
    comment: str
    body: str
    table: bool = True

    @property
    def call(self) -> str:
        """How it is called."""
        return f"{self.name}({self.parameters})"

    def statements(self) -> list[str]:
        """CREATE MACRO and its comment."""
        kind = "TABLE " if self.table else ""
        return [
            f"CREATE MACRO {self.call} AS {kind}{self.body}",
            f"COMMENT ON MACRO {kind}{self.name} IS {literal(self.comment)}",
        ]


def _raised(*parts: str) -> str:
    return f"error(concat({', '.join(parts)}))"


_ALL_HELD = f"(SELECT releases FROM {SCHEMA}.progress) = 'all'"
_BEGUN = f"(SELECT history_since FROM {SCHEMA}.progress)"
_FIRST = f"(SELECT min(j.time) FROM {SCHEMA}.changelog AS j WHERE j.serial > {_BEGUN})"
# By its text, which holds an offset: the session's time zone must not matter.
_MOMENT = (
    "CASE WHEN regexp_matches(moment::VARCHAR, ':[0-9.]+ ?(Z|[+-][0-9:]+)$')"
    " THEN moment::VARCHAR::TIMESTAMPTZ"
    " ELSE concat(moment::VARCHAR::TIMESTAMP, '+00')::TIMESTAMPTZ END"
)
_HELD = "(SELECT held_project(project))"

NORM = Macro(
    "norm",
    "name",
    "a project name as it is compared (PEP 503)",
    "lower(regexp_replace(name, '[-_.]+', '-', 'g'))",
    table=False,
)

VERSION_KEY = Macro(
    "version_key",
    "version",
    "a text to sort versions by (PEP 440), of any projects; NULL if it is no version, or has a"
    " number of more than 20 digits",
    KEY,
    table=False,
)

HELD = (
    Macro(
        "held_project",
        "project",
        "its normalised name; fails if there is no such project in this file",
        f"CASE WHEN EXISTS (FROM {SCHEMA}.project AS held WHERE held.name = norm(project))"
        " THEN norm(project) ELSE "
        + _raised(
            "'no project '",
            "project",
            "' is held here: removed and exceptions tell of names that are not,'",
            "' progress up to where this file is complete'",
        )
        + " END",
        table=False,
    ),
    Macro(
        "held_release",
        "project, release",
        "the version; fails if its files are not held, or if there is no such version",
        "CASE WHEN EXISTS (FROM releases AS held WHERE held.name = norm(project)"
        f" AND held.version = release) THEN release WHEN {_ALL_HELD} THEN "
        + _raised("project", "' has no version '", "release")
        + " ELSE "
        + _raised("'files of '", "release", "' are not held here, only of the latest version'")
        + " END",
        table=False,
    ),
    Macro(
        "held_since",
        "since",
        "the serial; fails if rows of the journal after it are not held",
        f"CASE WHEN since >= {_BEGUN} THEN since ELSE "
        + _raised(
            "'the journal is held here after serial '",
            f"coalesce({_BEGUN}::VARCHAR, '(unknown)')",
            "': what was before is not'",
        )
        + " END",
        table=False,
    ),
    Macro(
        "held_from",
        "moment",
        "the moment; fails if rows of the journal after it are not held. Without a zone it is UTC",
        f"CASE WHEN {_BEGUN} = 0 OR {_MOMENT} >= {_FIRST} THEN {_MOMENT} ELSE "
        + _raised(
            "'the journal is held here from '", utc(_FIRST), "' on (UTC): what was before is not'"
        )
        + " END",
        table=False,
    ),
    Macro(
        "held_whole",
        "",
        "true; fails as long as not all projects are held",
        f"CASE WHEN (SELECT watermark FROM {SCHEMA}.progress) IS NOT NULL THEN true ELSE "
        + _raised("'not all projects are held yet: progress has how many'")
        + " END",
        table=False,
    ),
)

# Other projects are left out before lists are unnested: that takes 0.6 of the time.
REVERSE_DEPENDENCIES = Macro(
    "reverse_dependencies",
    "project",
    "who requires a project, in their latest version; empty also for a name that nobody has",
    "SELECT name, version, specifier[place] AS specifier, extras[place] AS extras,"
    " marker[place] AS marker, extra[place] AS extra, requirement[place] AS requirement"
    " FROM (SELECT name, version, specifier, extras, marker, extra, requirement,"
    " unnest(dependency) AS required, unnest(range(1, len(dependency) + 1)) AS place"
    f" FROM {SCHEMA}.project WHERE list_contains(dependency, norm(project)))"
    " WHERE required = norm(project) ORDER BY name, place",
)

_FROM_END = "reverse(split_part(reverse(filename[:-5]), '-', {}))"
_LIKELY = "concat('%-%-%', for_python, '%-%-%', on_platform, '%.whl"
_ANY = "starts_with('any', on_platform)"
_MUSL = "starts_with(on_platform, 'musllinux')"
# Splitting all names would cost ten times as much as searching for the words in them first.
_WHEELS = (
    "SELECT name, version, filename FROM ({})"
    f" WHERE list_contains(string_split({_FROM_END.format(3)}, '.'), for_python)"
    f" AND contains(concat('.', {_FROM_END.format(1)}), concat('.', on_platform)) AND "
)
_BUILT = (
    "SELECT name, split_part(wheel, '/', 1) AS filename,"
    " wheel[length(split_part(wheel, '/', 1)) + 2:] AS version"
    f" FROM (SELECT name, unnest({{}}) AS wheel FROM {SCHEMA}.releases_of)"
    f" WHERE wheel LIKE {_LIKELY}/%')"
)
_ALL_WHEELS = (
    "FROM files"
    f" WHERE filename LIKE {_LIKELY}') AND packagetype = 'bdist_wheel'"
    " AND NOT contains(filename, '/')"
)

WHEELS_FOR = Macro(
    "wheels_for",
    "for_python, on_platform",
    "wheels of all versions with that Python tag and a platform tag that begins so: 'cp313',"
    " 'musllinux'",
    f"{_WHEELS.format(_BUILT.format('musl_wheels'))} NOT {_ANY}"
    f" UNION ALL {_WHEELS.format(_BUILT.format('wheels'))} NOT {_ANY} AND NOT {_MUSL}"
    f" UNION ALL {_WHEELS.format(_ALL_WHEELS)} {_ANY}"
    " ORDER BY name, filename",
)

_UPLOADED = "unnest(release_uploaded) AS uploaded"
# The newest files of so many projects bound the answer's age. Only projects with a file since then
# are unnested: the lists of all would take four times as long.
NEWEST_RELEASES = Macro(
    "newest_releases",
    "most",
    "so many versions with files, of all projects, by their first upload, the newest first",
    f"WITH likely AS (SELECT release_uploaded FROM {SCHEMA}.releases_of"
    " WHERE last_uploaded IS NOT NULL ORDER BY last_uploaded DESC LIMIT most),"
    f" since AS (SELECT min(uploaded) AS moment FROM (SELECT uploaded FROM (SELECT {_UPLOADED}"
    " FROM likely) ORDER BY uploaded DESC NULLS LAST LIMIT most))"
    " SELECT name, version, uploaded FROM (SELECT name, unnest(release_version) AS version,"
    f" unnest(range(1, len(release_version) + 1)) AS ordinal, {_UPLOADED}"
    f" FROM {SCHEMA}.releases_of WHERE last_uploaded >= (SELECT moment FROM since))"
    " WHERE uploaded IS NOT NULL ORDER BY uploaded DESC, name, ordinal DESC LIMIT most",
)

_NO_DOWNLOADS = "SELECT error('download counts are not held here: PyPI publishes them on BigQuery')"

XMLRPC = (
    Macro(
        "list_packages",
        "",
        "all projects, by the name they give themselves; fails while a backfill is open",
        "SELECT display_name AS name FROM projects WHERE (SELECT held_whole()) ORDER BY 1",
    ),
    Macro(
        "list_packages_with_serial",
        "",
        "the same, with the serial of what is held of each",
        "SELECT display_name AS name, serial FROM projects WHERE (SELECT held_whole()) ORDER BY 1",
    ),
    Macro(
        "package_releases",
        "project, show_hidden := false",
        "its latest version; with show_hidden all, the newest first",
        f"SELECT version FROM releases WHERE name = {_HELD} AND CASE WHEN NOT show_hidden"
        f" THEN is_latest WHEN {_ALL_HELD} THEN true ELSE "
        + _raised("'older versions of '", "project", "' are not held here'")
        + " END ORDER BY ordinal DESC",
    ),
    Macro(
        "release_urls",
        "project, release",
        "the files of a version",
        "SELECT filename, packagetype, coalesce(python_tag, 'source') AS python_version, size,"
        " md5 AS md5_digest, sha256 AS sha256_digest, uploaded AS upload_time, requires_python,"
        f" yanked, yanked_reason, url FROM files WHERE name = {_HELD}"
        " AND version = (SELECT held_release(project, release)) ORDER BY filename",
    ),
    Macro(
        "release_data",
        "project, release",
        "the metadata of the latest version, one row; fails for another, whose is not held",
        "SELECT p.display_name AS name, p.version, p.summary, p.author, p.author_email,"
        " p.maintainer, p.maintainer_email, p.license, p.license_expression, p.home_page,"
        " p.download_url, p.docs_url, p.requires_python, p.keywords, p.platform, p.classifiers,"
        " p.project_urls, (SELECT list(d.requirement) FROM dependencies AS d WHERE d.name ="
        f" {_HELD}) AS requires_dist FROM {SCHEMA}.project AS p WHERE p.name = {_HELD}"
        f" AND p.version = CASE WHEN {_HELD} IS NULL THEN NULL"
        f" WHEN release = (SELECT q.version FROM {SCHEMA}.project AS q"
        " WHERE q.name = norm(project)) THEN release"
        f" WHEN {_ALL_HELD} AND NOT EXISTS (FROM releases AS r WHERE r.name = norm(project)"
        " AND r.version = release) THEN "
        + _raised("project", "' has no version '", "release")
        + " ELSE "
        + _raised(
            *("'the metadata of '", "project", "' '", "release"),
            "' is not held here, only of the latest version'",
        )
        + " END",
    ),
    Macro(
        "package_roles",
        "project",
        "who has which role in a project: owners, then maintainers",
        'SELECT o.role, o."user" FROM roles AS o'
        f' WHERE o.name = {_HELD} ORDER BY o.role DESC, o."user"',
    ),
    Macro(
        "user_packages",
        "username",
        "projects in which a user has a role: what they own, then what they maintain",
        'SELECT o.role, o.name FROM roles AS o WHERE o."user" = username'
        " ORDER BY o.role DESC, o.name",
    ),
    Macro(
        "browse",
        "wanted",
        "latest versions with all of a list of classifiers",
        f"SELECT name, version FROM {SCHEMA}.project"
        " WHERE list_has_all(classifiers, wanted) ORDER BY name",
    ),
    Macro(
        "search",
        "words",
        "at most 100 projects whose name or summary has all of these words, in any case",
        "SELECT name, version, summary FROM projects WHERE NOT EXISTS (SELECT 1 FROM"
        " (SELECT unnest(string_split_regex(lower(trim(words)), '\\s+')) AS word) WHERE NOT"
        " contains(lower(concat_ws(' ', name, display_name, summary)), word)) ORDER BY name"
        " LIMIT 100",
    ),
    Macro(
        "changelog_last_serial",
        "",
        "the serial up to which changelog_since_serial has rows",
        f"SELECT reached AS serial FROM {SCHEMA}.progress",
    ),
    Macro(
        "changelog_since_serial",
        "since",
        "the journal above a serial",
        "SELECT display_name AS name, version, time, action, serial FROM changelog"
        " WHERE serial > (SELECT held_since(since)) ORDER BY serial",
    ),
    Macro(
        "changelog",
        "moment",
        "the journal after a time (UTC, if it has no zone)",
        "SELECT j.display_name AS name, j.version, j.time, j.action, j.serial"
        f" FROM {SCHEMA}.changelog AS j"
        " WHERE j.time > (SELECT held_from(moment)) ORDER BY j.serial",
    ),
    Macro(
        "updated_releases",
        "moment",
        "versions made after a time (UTC, if it has no zone), the newest first",
        "SELECT display_name AS name, version FROM changelog WHERE kind = 'new-release'"
        " AND time > (SELECT held_from(moment)) ORDER BY serial DESC",
    ),
    Macro(
        "changed_packages",
        "moment",
        "projects that changed after a time (UTC, if it has no zone), the one changed last first",
        "SELECT name, max(serial) AS serial FROM changelog"
        " WHERE time > (SELECT held_from(moment)) GROUP BY name ORDER BY 2 DESC",
    ),
    Macro(
        "package_hosting_mode",
        "project",
        "where files are: since PEP 470 with the index",
        f"SELECT 'pypi-explicit' AS mode WHERE {_HELD} IS NOT NULL",
    ),
    Macro("top_packages", "most := NULL", "always fails: not held", _NO_DOWNLOADS),
    Macro("release_downloads", "project, release", "always fails: not held", _NO_DOWNLOADS),
)

# Macros that others use come first.
MACROS = (NORM, VERSION_KEY, *HELD, REVERSE_DEPENDENCIES, NEWEST_RELEASES, WHEELS_FOR, *XMLRPC)

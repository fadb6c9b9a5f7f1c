"""Public views about the data: journal, removed projects, anomalies, exceptions, progress."""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from sinks.duckdb.derived import LATEST, OWNERS_HISTORY, RELEASES_PER_MONTH, WHEEL_TAGS
from sinks.duckdb.gone import REMOVED, REMOVED_FILES
from sinks.duckdb.macros import MACROS
from sinks.duckdb.public import (
    CLASSIFIERS,
    DEPENDENCIES,
    FILES,
    NAME,
    PROJECT_URLS,
    PROJECTS,
    RELEASES,
    ROLES,
    VULNERABILITIES,
    View,
    shown,
    shown_of,
)
from sinks.duckdb.schema import SCHEMA

CHANGELOG = View(
    "changelog",
    "Upstream's journal from the serial on at which this log begins, up to the same cut.",
    f"{SCHEMA}.changelog",
    shown(
        serial="upstream's total order",
        name=NAME,
        display_name="the project's spelling at that time",
        version="version concerned, if any",
        time="when it happened",
        action="upstream's free text",
        kind="what the action means: create, new-release, add-file, yank, role, ...",
        source="journal, or index where the journal was not available",
        late="true for history that was read in afterwards",
    ),
)

ANOMALIES = View(
    "anomalies",
    "What is odd about a project's records. Nothing is lost because of it but what it names.",
    f"(SELECT name, 'metadata' AS topic, unnest(anomalies) AS anomaly FROM {SCHEMA}.project"
    f" UNION ALL SELECT name, 'releases', unnest(anomalies) FROM {SCHEMA}.releases_of"
    f" UNION ALL SELECT name, topic, reason FROM {SCHEMA}.unreadable)",
    shown(
        name=NAME,
        topic="which record",
        anomaly="what is odd: `type:<field>` had another type than it should, `unreadable`: no row",
    ),
)

EXCEPTIONS = View(
    "exceptions",
    "Names that the watermark does not speak for, each with what is known and what comes next.",
    f"(SELECT * FROM {SCHEMA}.state WHERE NOT settled)",
    {
        **shown(name=NAME, display_name="the author's spelling, where known"),
        "status": (
            "CASE status WHEN 'absent' THEN 'absent-once' ELSE status END",
            "pending, parked, stale, dead, or absent-once (one more look is due)",
        ),
        **shown(
            reason="why the last attempt did not settle it",
            event_serial="serial of the change that is owed",
            serial="serial of the document shown here, 0 = none",
            attempts="answers so far that did not settle it",
            first_attempt="when the first of them came",
            next_attempt="when it is asked again; NULL = left to the sweep",
        ),
    },
)

_COVERAGE = "floor(1e6 * count(*) FILTER (settled) / nullif(count(*), 0)) / 1e4"

_PUBLISHED = (
    f"(SELECT to_timestamp(value::BIGINT / 1000) FROM {SCHEMA}.memo WHERE key = 'published_ms')"
)

PROGRESS = View(
    "progress",
    "One row: what this file is complete up to. Its identity is log_id with vector.",
    f"{SCHEMA}.progress AS g",
    {
        **shown_of(
            "g",
            watermark="the journal up to it is reflected, but for exceptions; NULL = no claim",
            base="what happened up to here may be missing: the log begins there",
            reached="everything in (base, reached] is reflected, but for exceptions",
            head_serial="upstream's newest serial when it was last asked",
            head_time="when that was",
        ),
        "lag": ("g.head_serial - g.watermark", "serials between the two"),
        **shown_of(
            "g",
            backfill_done="names that an open backfill has decided; NULL = none is open",
            backfill_names="names that it has in all",
            history_since="rows of changelog are complete after this serial; NULL = not known",
        ),
        "projects": (f"(SELECT count(*) FROM {SCHEMA}.project)", "rows of projects"),
        "names": (f"(SELECT count(*) FROM {SCHEMA}.state)", "names ever heard of"),
        **{
            status: (
                f"(SELECT count(*) FROM {SCHEMA}.state WHERE status = '{status}')",
                f"names in that status{note}",
            )
            for status, note in (
                ("ok", ""),
                ("absent", ", second look due or done"),
                ("pending", ""),
                ("parked", ""),
                ("stale", ""),
                ("dead", ""),
            )
        },
        "exceptions": ("(SELECT count(*) FROM exceptions)", "rows of exceptions"),
        "coverage": (
            f"CASE WHEN g.watermark IS NOT NULL THEN (SELECT {_COVERAGE} FROM {SCHEMA}.state) END",
            "percent of the names that are no exceptions, rounded down; NULL = no claim",
        ),
        "published_at": (
            _PUBLISHED,
            "when this file was made",
        ),
        **shown_of(
            "g",
            source="where changes come from: journal or index",
            include="globs of the projects this log holds, empty = all",
            exclude="globs of the projects it leaves out",
            releases="all: every version's files are here; latest: only the latest version's",
            log_id="of the log this file was made from",
            partitions="of that log",
            schema_version="of its records",
            vector="the cut per partition: next offsets, and the journal's serials (base, serial]",
        ),
    },
)

VIEWS = (
    PROJECTS,
    RELEASES,
    FILES,
    DEPENDENCIES,
    CLASSIFIERS,
    PROJECT_URLS,
    VULNERABILITIES,
    ROLES,
    CHANGELOG,
    REMOVED,
    REMOVED_FILES,
    ANOMALIES,
    EXCEPTIONS,
    PROGRESS,
    LATEST,
    WHEEL_TAGS,
    RELEASES_PER_MONTH,
    OWNERS_HISTORY,
)


def view_statements() -> list[str]:
    """Make all views and macros, once the tables are there."""
    return [statement for each in (*VIEWS, *MACROS) for statement in each.statements()]

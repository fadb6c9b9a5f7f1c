"""Questions to begin with: a few of the queries in `docs/duckdb.md`, which run in the tests."""

from __future__ import annotations

from typing import NamedTuple


class Recipe(NamedTuple):
    """A question in words and in SQL."""

    question: str
    sql: str


COOKBOOK = (
    Recipe(
        "How complete is it?",
        "SELECT watermark, head_serial, lag, exceptions, backfill_done, backfill_names,"
        " published_at FROM progress;",
    ),
    Recipe(
        "Removed or quarantined, newest first",
        "SELECT name, reason, serial, time FROM removed ORDER BY serial DESC LIMIT 20;",
    ),
    Recipe(
        "Latest versions with a known vulnerability",
        """\
SELECT v.name, v.version, v.id, v.aliases, v.fixed_in, p.fetched_at
FROM vulnerabilities AS v JOIN projects AS p USING (name)
WHERE v.withdrawn IS NULL
ORDER BY v.name, v.id;""",
    ),
    Recipe(
        "Licences",
        """\
SELECT coalesce(p.license_expression, c.classifier, 'not said in a machine-readable way')\
 AS licence, count(*) AS projects
FROM projects AS p
LEFT JOIN classifiers AS c ON c.name = p.name AND c.classifier LIKE 'License ::%'
GROUP BY 1 ORDER BY projects DESC LIMIT 10;""",
    ),
    Recipe(
        "Most required projects",
        """\
SELECT dependency, count(DISTINCT name) FILTER (extra IS NULL) AS always,\
 count(DISTINCT name) AS at_all
FROM dependencies WHERE dependency IS NOT NULL\
 GROUP BY dependency ORDER BY at_all DESC LIMIT 10;""",
    ),
    Recipe(
        "Uploads and projects per month",
        """\
SELECT date_trunc('month', uploaded) AS month, count(*) AS files, count(DISTINCT name) AS projects
FROM files WHERE uploaded IS NOT NULL GROUP BY month ORDER BY month DESC LIMIT 12;""",
    ),
    Recipe(
        "New projects, with who owns them",
        """\
SELECT c.name, c.time AS created, p.summary, list(DISTINCT r."user") AS people
FROM changelog AS c JOIN projects AS p USING (name) LEFT JOIN roles AS r USING (name)
WHERE c.kind = 'create'
GROUP BY ALL ORDER BY created DESC LIMIT 20;""",
    ),
)

"""Real questions with their SQL, for the DuckDB file. The page docs/cookbook.md is made of them."""

from __future__ import annotations

from typing import NamedTuple


class Recipe(NamedTuple):
    """A question, its SQL for a published file, and what to know about the answer."""

    question: str
    sql: str
    note: str = ""


COMPLETE = (
    Recipe(
        "How complete is this file, and how old?",
        """\
SELECT watermark, head_serial, lag, exceptions, coverage, published_at
FROM progress""",
        "A `watermark` of NULL makes no claim: a backfill has not been through yet.",
    ),
    Recipe(
        "Which names is it not sure of, and why?",
        """\
SELECT name, status, reason, attempts, next_attempt
FROM exceptions ORDER BY event_serial DESC LIMIT 20""",
    ),
    Recipe(
        "What is odd in the data?",
        """\
SELECT anomaly, count(*) AS projects, min(name) AS for_example
FROM anomalies GROUP BY anomaly ORDER BY projects DESC, anomaly""",
    ),
)

PACKAGERS = (
    Recipe(
        "What changed since I last looked?",
        """\
SELECT name, version, serial
FROM projects WHERE serial > 100 ORDER BY serial""",
        "Keep the highest `serial` that you saw, and put it there the next time.",
    ),
    Recipe(
        "Which source archive has the latest version of each project?",
        """\
SELECT name, version, url, sha256, size
FROM files WHERE is_latest AND packagetype = 'sdist' AND NOT yanked ORDER BY name""",
    ),
    Recipe(
        "What is the newest version below 2 that is neither a pre-release nor yanked?",
        """\
SELECT version, uploaded
FROM releases
WHERE name = norm('Yorango.Mesh') AND NOT is_prerelease AND NOT yanked
  AND sort_key < version_key('2')
ORDER BY sort_key DESC LIMIT 1""",
        "`sort_key` sorts as PEP 440 has it: 1.10 is after 1.9, 2.0rc1 before 2.0.",
    ),
    Recipe(
        "Which versions came out last?",
        """\
FROM newest_releases(100)""",
        "The same as `releases` in the order of `uploaded`, in half the time.",
    ),
    Recipe(
        "Whose latest version is a pre-release?",
        """\
SELECT name, version FROM latest WHERE is_prerelease ORDER BY name""",
    ),
    Recipe(
        "Where are changelog, source and issues of a project?",
        """\
SELECT kind, label, url
FROM project_urls WHERE name = norm('Yorango.Mesh') AND kind IS NOT NULL ORDER BY kind, label""",
        "Labels are the authors' own; `kind` is what PEP 753 says that they mean.",
    ),
)

DEPENDENCIES = (
    Recipe(
        "Who requires a project, and which versions of it?",
        """\
SELECT name, specifier, extra, marker FROM reverse_dependencies('TableLib')""",
    ),
    Recipe(
        "Which projects are required most?",
        """\
SELECT dependency, count(DISTINCT name) FILTER (extra IS NULL) AS always,
       count(DISTINCT name) AS at_all
FROM dependencies WHERE dependency IS NOT NULL
GROUP BY dependency ORDER BY at_all DESC, dependency LIMIT 20""",
        "An extra that a marker asks for is in `extra`; what has none is always installed.",
    ),
    Recipe(
        "Who pins a project to one version?",
        """\
SELECT name, specifier
FROM dependencies
WHERE dependency = norm('TableLib') AND specifier LIKE '==%' AND specifier NOT LIKE '%*%'
ORDER BY name""",
    ),
    Recipe(
        "Which requirements name a project that is not there?",
        """\
SELECT d.dependency, count(*) AS asked_by, min(d.name) AS for_example
FROM dependencies AS d ANTI JOIN projects AS p ON p.name = d.dependency
WHERE d.dependency IS NOT NULL GROUP BY d.dependency ORDER BY asked_by DESC, d.dependency""",
        "Such a name can be taken by anybody. With `include` or `exclude` set, it may be left out"
        " here only.",
    ),
    Recipe(
        "Which requirements can no installer read?",
        """\
SELECT name, version, requirement, parse_error
FROM dependencies WHERE parse_error IS NOT NULL ORDER BY name, requirement""",
    ),
)

FILES = (
    Recipe(
        "Which wheels are there for Python 3.13 on musllinux?",
        """\
FROM wheels_for('cp313', 'musllinux')""",
        "Wheels for the stable ABI (`abi3`) of an older Python run there as well. `wheel_tags` has"
        " every tag of every wheel, and takes ten times as long.",
    ),
    Recipe(
        "Whose latest version has no wheel?",
        """\
SELECT name, version
FROM files WHERE is_latest
GROUP BY name, version HAVING count(*) FILTER (packagetype = 'bdist_wheel') = 0 ORDER BY name""",
    ),
    Recipe(
        "How large is a mirror of the latest versions?",
        """\
SELECT packagetype, count(*) AS files, sum(size) AS bytes
FROM files WHERE is_latest GROUP BY packagetype ORDER BY bytes DESC, packagetype""",
    ),
)

SECURITY = (
    Recipe(
        "Which latest versions have a known vulnerability?",
        """\
SELECT v.name, v.version, v.id, v.aliases, v.fixed_in, p.fetched_at
FROM vulnerabilities AS v JOIN projects AS p USING (name)
WHERE v.withdrawn IS NULL ORDER BY v.name, v.id""",
        "As old as `fetched_at`: a new entry writes no row into the journal.",
    ),
    Recipe(
        "What was removed or quarantined?",
        """\
SELECT name, reason, serial, time, version, filenames, sha256
FROM removed ORDER BY serial DESC LIMIT 20""",
    ),
    Recipe(
        "Which names look like a well-known one?",
        """\
SELECT l.name, l.serial, p.summary
FROM latest AS l JOIN projects AS p USING (name)
WHERE levenshtein(l.name, norm('Griora.Kit')) BETWEEN 1 AND 2 ORDER BY l.name""",
    ),
    Recipe(
        "Who alone holds a project that others require?",
        """\
SELECT r.name, min(r."user") AS who, any_value(d.dependents) AS dependents
FROM roles AS r JOIN (
    SELECT dependency AS name, count(DISTINCT name) AS dependents FROM dependencies GROUP BY 1
) AS d USING (name)
GROUP BY r.name HAVING count(DISTINCT r."user") = 1 ORDER BY dependents DESC, r.name LIMIT 20""",
    ),
    Recipe(
        "How did the people of a project change?",
        """\
SELECT time, step, role, "user", whole
FROM owners_history WHERE name = norm('Yorango.Mesh') ORDER BY serial""",
        "Where `whole` is false there may be more, from before the journal held here; the project"
        " has a row even if no change is held. `roles` has who is there now.",
    ),
)

ANALYSTS = (
    Recipe(
        "Which licences are used?",
        """\
SELECT coalesce(p.license_expression, c.classifier, 'not said in a machine-readable way')
         AS licence, count(DISTINCT p.name) AS projects
FROM projects AS p
LEFT JOIN classifiers AS c ON c.name = p.name AND c.classifier LIKE 'License ::%'
GROUP BY 1 ORDER BY projects DESC, licence LIMIT 20""",
    ),
    Recipe(
        "How many versions come out in a month?",
        """\
SELECT month, releases, projects FROM releases_per_month ORDER BY month DESC LIMIT 12""",
    ),
    Recipe(
        "Which Python versions do projects say they support?",
        """\
SELECT split_part(classifier, ' :: ', 3) AS python, count(*) AS projects
FROM classifiers WHERE regexp_full_match(classifier, 'Programming Language :: Python :: 3[.]\\d+')
GROUP BY python ORDER BY version_key(python) DESC""",
    ),
)

CHAPTERS = {
    "How far to trust it": COMPLETE,
    "For packagers": PACKAGERS,
    "Dependencies": DEPENDENCIES,
    "Files": FILES,
    "Security": SECURITY,
    "For analysts": ANALYSTS,
}
RECIPES = tuple(recipe for chapter in CHAPTERS.values() for recipe in chapter)

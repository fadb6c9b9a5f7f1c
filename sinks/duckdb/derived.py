"""Public views for frequent questions, derived from the other views."""

# ruff: noqa: S608  # what is put into SQL are names from this package, never values

from __future__ import annotations

from sinks.duckdb.public import LATEST as LATEST_VERSION
from sinks.duckdb.public import NAME, View, shown, shown_of, utc
from sinks.duckdb.schema import SCHEMA
from sinks.duckdb.versions import IS_PRERELEASE

LATEST = View(
    "latest",
    "One narrow row per project: its latest version.",
    f"{SCHEMA}.project",
    {
        **shown(
            name=NAME,
            display_name="the author's spelling of the name",
            version=LATEST_VERSION,
        ),
        "is_prerelease": (IS_PRERELEASE, "true for a pre-release: there is nothing else to choose"),
        **shown(
            yanked="true if every file of the version is yanked (PEP 592)",
            uploaded="when the first file of the version was uploaded",
            serial="upstream's serial of this document (last_serial)",
        ),
    },
)

WHEEL_TAGS = View(
    "wheel_tags",
    "One row per file and tag that a wheel is for: py2.py3-none-any gives two. Of names with fewer"
    " than the five parts of a wheel's, or with a slash, there are none.",
    "(SELECT name, version, filename, is_latest, python, abi, unnest(platforms) AS platform FROM"
    " (SELECT *, unnest(abis) AS abi FROM (SELECT name, version, filename, is_latest,"
    " unnest(string_split(python_tag, '.')) AS python, string_split(abi_tag, '.') AS abis,"
    " string_split(platform_tag, '.') AS platforms FROM files"
    " WHERE python_tag IS NOT NULL AND filename LIKE '%-%-%-%-%'"
    " AND NOT contains(filename, '/'))))",
    {
        **shown(
            name=NAME,
            version="version it belongs to, as upstream spells it",
            filename="name of the wheel",
            python="one Python tag, e.g. py3 or cp311 (PEP 425)",
            abi="one ABI tag, e.g. none, abi3, cp311",
            platform="one platform tag, e.g. any or musllinux_1_2_x86_64",
        ),
        "tag": ("concat_ws('-', python, abi, platform)", "the three together"),
        **shown(is_latest="true for wheels of the latest version"),
    },
)

RELEASES_PER_MONTH = View(
    "releases_per_month",
    "Versions by the month of their first upload. Those that were deleted since are not in it, and"
    " those without files have no month.",
    f"(SELECT date_trunc('month', {utc('uploaded')})::DATE AS month, count(*) AS releases,"
    " count(DISTINCT name) AS projects, sum(files)::BIGINT AS files, sum(bytes)::HUGEINT AS bytes"
    " FROM releases WHERE uploaded IS NOT NULL GROUP BY 1)",
    shown(
        month="its first day (UTC)",
        releases="how many versions",
        projects="of how many projects",
        files="files that these versions have by now",
        bytes="size of these files",
    ),
)

_ROLE = r"^([a-z_]+) (Owner|Maintainer) (?:invite )?(?:for )?(\S+)"

OWNERS_HISTORY = View(
    "owners_history",
    "One row per change of roles in the journal. A project without any that is held has one row"
    " with no serial. What is not whole lacks changes from before the journal held here;"
    " roles has who is there now.",
    f"(SELECT p.name, j.serial, j.time, j.action, regexp_extract(j.action, '{_ROLE}', 1) AS step,"
    f" regexp_extract(j.action, '{_ROLE}', 2) AS of_role,"
    f" regexp_extract(j.action, '{_ROLE}', 3) AS of_user,"
    " (p.created IS NOT NULL OR p.begun = 0) AS whole"
    " FROM (SELECT s.name, c.created, g.history_since AS begun"
    f" FROM {SCHEMA}.state AS s CROSS JOIN {SCHEMA}.progress AS g"
    f" LEFT JOIN (SELECT name, min(serial) AS created FROM {SCHEMA}.changelog WHERE kind = 'create'"
    " GROUP BY name) AS c ON c.name = s.name AND c.created > g.history_since) AS p"
    f" LEFT JOIN {SCHEMA}.changelog AS j ON j.name = p.name AND j.kind = 'role') AS h",
    {
        **shown_of(
            "h",
            name=NAME,
            serial="upstream's total order; NULL: no change is held",
            time="when it happened",
            action="upstream's text",
        ),
        "step": ("nullif(h.step, '')", "add, remove, accepted, invite, ...; NULL: another text"),
        "role": ("nullif(h.of_role, '')", "Owner or Maintainer; NULL: another text"),
        "user": ("nullif(h.of_user, '')", "account name on the index; NULL: another text"),
        "whole": (
            "coalesce(h.whole, false)",
            "true if the journal held here has the project's creation, so that nothing is missing",
        ),
    },
)

"""`pypistream redact`: leave something out for ever."""

from __future__ import annotations

import click

from pypistream import options


@click.command("redact", short_help="Leave a project's personal data out, for ever.")
@options.place
@click.argument("name", required=False)
@click.option("--field", multiple=True, metavar="FIELD",
              help="Only this field (repeatable).  [all fields about persons]")  # fmt: skip
@click.option("--wait", type=click.FloatRange(0), metavar="S", default=600.0,
              help="Seconds to wait until running processes have followed.  [600]")  # fmt: skip
@click.option("--yes", is_flag=True, help="Start without asking.")
def command(**given: object) -> int:
    """Make a rule by which these fields of NAME, or of every project, are null from now on.

    The rule is kept in the log and cannot be taken back; on a terminal the command asks before it
    makes one for every project. Published documents are rewritten from the log, and DuckDB file,
    dump and HTTP service follow; earlier dumps and deltas are deleted. The embedded log deletes
    older copies at once, Kafka on a date that is printed.

    Without --field: author, author_email, maintainer, maintainer_email and ownership. With
    ownership, the user names in the journal's actions are masked wherever they are shown. Other
    fields: summary, keywords, license, home_page, bugtrack_url, docs_url, download_url,
    project_urls.

    \b
    pypistream redact sample-project
    pypistream redact --field author_email --field maintainer_email     # of every project
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.redacting import redact

    return redact(given)

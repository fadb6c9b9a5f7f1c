"""`pypistream redact`: leave something out for ever."""

from __future__ import annotations

import click

from pypistream import options


@click.command("redact", short_help="Leave a project's personal data out, for ever.")
@options.place
@click.argument("name", required=False)
@click.option("--field", multiple=True, metavar="FIELD",
              help="Only this field (repeatable).  [all that are about persons]")  # fmt: skip
@click.option("--wait", type=click.FloatRange(0), metavar="S", default=600.0,
              help="Seconds for whoever runs to follow.  [600]")  # fmt: skip
def command(**given: object) -> int:
    """Make a rule: these fields of NAME, or of every project, are null from now on.

    It is kept with the log and never taken back. What was published is written anew, from the log
    itself, and DuckDB file, dump and HTTP service follow; dumps and deltas made before are deleted.
    The embedded log lets go of older copies at once. Kafka does so later: the date is printed.

    Without --field it is author, author_email, maintainer, maintainer_email and ownership; with
    ownership go the user names in the journal's actions, wherever they are shown. Other fields:
    summary, keywords, license, home_page, bugtrack_url, docs_url, download_url, project_urls.

    \b
    pypistream redact sample-project
    pypistream redact --field author_email --field maintainer_email     # of every project
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.redacting import redact

    return redact(given)

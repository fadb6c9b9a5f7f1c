"""`pypistream init`: a settings file that explains itself."""

from __future__ import annotations

import click

from pypistream import options


@click.command("init", short_help="Write a commented pypistream.toml, or check one.")
@options.pipeline
@click.option("--check", is_flag=True, help="Check an existing file and show what it sets.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(**given: object) -> int:
    """Write pypistream.toml here, with every setting, its default and what it means.

    Options given on this command line are set in the file; the others stay comments.

    \b
    pypistream init --contact you@example.org --rate 5
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.config_file import init

    return init(given)

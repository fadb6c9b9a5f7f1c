"""docs/commands.md says what the program says."""

from __future__ import annotations

import click

from pypistream import cli
from scripts.command_reference import PAGE, main, reference

NAMES = cli.app.list_commands(click.Context(cli.app))


def test_the_page_is_up_to_date() -> None:
    """Made anew from the command line it is the same, character by character."""
    assert PAGE.read_text(encoding="utf-8") == reference(), "make schemas"
    assert main(["--check"]) == 0


def test_every_command_and_option_is_on_it() -> None:
    """Found by click itself, not by what the page's writer looked for."""
    text = reference()
    commands = [cli.app.get_command(click.Context(cli.app), name) for name in NAMES]
    flags = [
        flag
        for command in commands
        if command is not None
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
        for flag in option.opts
    ]

    assert [name for name in NAMES if f"\n## {name}\n" not in text] == []
    assert [flag for flag in flags if f"`{flag}`" not in text] == []
    assert "\b" not in text

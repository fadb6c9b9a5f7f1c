"""Writes docs/commands.md from the command line itself; `--check` says if it is up to date."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pypistream import cli
from scripts.pages import write_or_check

PAGE = Path(__file__).parents[1] / "docs/commands.md"

HEAD = """\
# Commands

Made from the program by `make schemas`; do not edit by hand.

Data goes to stdout, everything else to stderr. On a terminal output is for people, in a pipe for
programs. What upstream wrote is shown on a terminal with control characters escaped.

## Settings

Settings are taken, in this order, from flags, from `PYPISTREAM_*` in the environment, from
`pypistream.toml` in the current directory (or `--config FILE`), from what the data directory
remembers of its last `run`, and from the defaults, which are in `[brackets]` below.
`pypistream init` writes a file that explains every setting. With `--data` nothing else is needed.

In the file a setting has the name of its flag, with `_` or `-`: `snapshot_every = 30`. An unknown
name is refused. In the environment an unknown variable is refused if it looks misspelt; else there
is a warning.

## Exit codes

"""

EXIT_CODES = (
    (
        0,
        "success; also after the first Ctrl-C, SIGTERM or SIGHUP, and when nobody reads the output",
    ),
    (cli.EXIT_FAILED, "failed: the last line says what, why, and what to do next"),
    (cli.EXIT_USAGE, "usage: an unknown command or option, a setting that cannot work"),
    (cli.EXIT_STALE, "stale: `status --max-lag`"),
    (cli.EXIT_GAVE_UP, "the watchdog gave up"),
    (
        cli.EXIT_INTERRUPTED,
        "second Ctrl-C: ended at once; also `query`, `dump` or `rebuild` stopped by the first one",
    ),
)


def reference() -> str:
    """The whole page."""
    context = click.Context(cli.app, info_name="pypistream")
    names = cli.app.list_commands(context)
    parts = [HEAD, _table(("code", "meaning"), EXIT_CODES), "\n## All commands\n\n"]
    commands = [command for name in names if (command := cli.app.get_command(context, name))]
    rows = [(f"[`{each.name}`](#{each.name})", each.short_help or "") for each in commands]
    parts.append(_table(("command", ""), rows))
    parts += [part for command in commands for part in _command(command)]
    return "".join(parts)


def _command(command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"pypistream {command.name}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n## {command.name}\n\n```console\n$ pypistream {command.name} {usage}\n```\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield f"\n{_paragraph(paragraph)}\n"
    options = [each for each in command.params if isinstance(each, click.Option)]
    rows = [_option(each) for each in options if not each.hidden]
    if rows:
        yield "\n" + _table(("option", "environment", ""), rows)


def _paragraph(text: str) -> str:
    """As it is, but for lines to be typed, which follow click's mark, a backspace."""
    mark = "\b\n"
    if not text.startswith(mark):
        return text
    return f"```console\n{re.sub('^', '$ ', text.removeprefix(mark), flags=re.MULTILINE)}\n```"


def _option(option: click.Option) -> tuple[str, str, str]:
    flags = ", ".join(f"`{flag}`" for flag in option.opts)
    if not option.is_flag:
        context = click.Context(click.Command("any"))
        metavar = option.make_metavar(context).replace("|", r"\|")
        flags = f"{flags} {metavar}"
    text = option.help or ""
    if option.show_default and option.default is not None:
        text = f"{text}  [{option.default}]"
    return flags, f"`{option.envvar}`" if option.envvar else "", text


def _table(heads: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines: list[tuple[object, ...]] = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    return write_or_check(PAGE, reference(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

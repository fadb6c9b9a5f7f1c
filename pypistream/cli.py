"""The command line. Data goes to stdout, everything else to stderr.

Exit codes: 0 ok (also after the first Ctrl-C), 1 failed, 2 usage, 3 stale, 75 watchdog gave up,
130 second Ctrl-C.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click

from pypistream.terminal import escaped
from schemas.errors import NoProgress, PypistreamError, UsageError

EXIT_FAILED, EXIT_USAGE, EXIT_STALE, EXIT_GAVE_UP, EXIT_INTERRUPTED = 1, 2, 3, 75, 130

_COMMANDS = (
    "run", "demo", "upstream", "produce", "process", "sink", "serve", "backfill", "reconcile",
    "sweep", "bootstrap", "follow", "query", "dump", "status", "verify", "rebuild", "dead-letters",
    "redact", "topics", "doctor", "init",
)  # fmt: skip
_HIDDEN = ("sinks", "serving", "rows")
_EXIT_CODES: dict[type[PypistreamError], int] = {UsageError: EXIT_USAGE, NoProgress: EXIT_GAVE_UP}


class Commands(click.Group):
    """Finds a command's module by its name, and suggests the nearest one for a mistyped name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Every command, in the order of use rather than the alphabet."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module; Kafka's options go last in its help, since few use them."""
        if cmd_name not in (*_COMMANDS, *_HIDDEN):
            return None
        module = importlib.import_module(f"pypistream.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        command.params.sort(key=lambda each: (each.name or "").startswith("kafka"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click resolves it, with a suggestion added to the error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], _COMMANDS, 1)
            if not close:
                raise
            text = f"{error.message} Did you mean {close[0]!r}?"
            raise click.UsageError(text, ctx=error.ctx) from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("pypistream"), prog_name="pypistream")
def app() -> None:
    """PyPI's changelog as an event log: live topics, a DuckDB file, dumps.

    Try `pypistream demo` first: it runs on a bundled stand-in and nothing leaves the machine.
    """


def _check_environment(arguments: Sequence[str]) -> None:
    """Raise UsageError for a misspelt variable.

    `--help` works all the same, and the parent of a hidden command has checked already.
    """
    begins = bool({*arguments[:1]} & {*_COMMANDS}) and not {"-h", "--help"} & {*arguments}
    if begins and any(name.startswith("PYPISTREAM_") for name in os.environ):
        from pypistream.environment import check_environment  # loads the settings: 0.1 s

        check_environment(os.environ)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    try:
        _check_environment(arguments)
        result = app.main(list(arguments), prog_name="pypistream", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show(sys.stderr)
        return EXIT_USAGE if isinstance(error, click.UsageError) else EXIT_FAILED
    except PypistreamError as error:
        click.echo(f"Error: {escaped(str(error))}", err=True)
        if error.hint:
            click.echo(f"Next:  {escaped(error.hint)}", err=True)
        return _EXIT_CODES.get(type(error), EXIT_FAILED)
    return result if isinstance(result, int) else 0

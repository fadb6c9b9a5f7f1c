"""When the sinks' process is given up, and which settings the children of a `run` have."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pypistream.children.sinks_child import SETTINGS, SINKS, WELL_SECONDS, child_command, was_well
from pypistream.commands import serving, sinks
from pypistream.place import located
from pypistream.settings import Settings, resolve


@pytest.mark.parametrize("name", SINKS)
def test_one_sink_that_publishes_does_not_excuse_the_other(name: str) -> None:
    assert not was_well({}, {name: 5.0}, 10)
    assert not was_well(dict.fromkeys(SINKS, 1.0), dict.fromkeys(SINKS, 1.0) | {name: 5.0}, 10)


def test_a_life_in_which_all_published_or_a_long_one_is_no_failure() -> None:
    assert was_well({}, dict.fromkeys(SINKS, 5.0), 1)
    assert was_well({}, {}, WELL_SECONDS)


@pytest.mark.parametrize(
    ("command", "names"), [(sinks.command, SETTINGS), (serving.command, ("keep_removed",))]
)
def test_what_a_run_was_told_counts_for_its_children(
    command: click.Command, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag of the `run` is stronger than the variable and the file that a child finds, too."""
    told = {"keep_removed": "all", "dump_every": 7.0, "keep_deltas": 8.0, "tables_every": 0.0}
    monkeypatch.chdir(tmp_path)
    settings = resolve({**told, "data": tmp_path / "data"})
    for name in told:
        monkeypatch.setenv(f"PYPISTREAM_{name.upper()}", "none" if name == "keep_removed" else "9")
    (tmp_path / "pypistream.toml").write_text("keep-hourly = 1.0\nno-such = true\n")

    arguments = child_command(str(command.name), settings, *names)[4:]
    if command is serving.command:
        arguments += ["--socket", "3"]
    with command.make_context(str(command.name), arguments) as context:
        given = context.params
        found, _ = located({name: given[name] for name in given if name != "descriptor"})

    for name in ("data", *names):
        assert getattr(found, name) == getattr(settings, name)
    assert set(names) <= {*Settings.__dataclass_fields__}

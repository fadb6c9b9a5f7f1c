"""`pypistream init`: the file is whole, valid, and says what the code does."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypistream.config_file import EXPLAINED, file_text, init, toml_value
from pypistream.settings import CONFIG_NAME, Settings, resolve
from schemas.errors import UsageError
from tests.support.reading_world import run

NAMES = [field.name for field in fields(Settings)]
NOTHING: dict[str, object] = {"check": False, "force": False}


def _defaults_uncommented(text: str) -> str:
    """The lines `# name = value`, without their `# `."""
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    return "\n".join(line for line in lines if line.split(" = ")[0] in NAMES)


def test_every_setting_is_explained_once() -> None:
    """In the order of the settings, none forgotten, none made up."""
    assert [explained.name for explained in EXPLAINED] == NAMES


def test_the_file_sets_nothing_and_shows_every_default() -> None:
    """As written it changes nothing; with every comment taken away it still changes nothing."""
    text = file_text({})

    assert tomllib.loads(text) == {}
    unset = {name for name in NAMES if getattr(Settings, name) is None}
    assert set(tomllib.loads(_defaults_uncommented(text))) == set(NAMES) - unset
    assert unset == {"partitions"}


def test_the_defaults_shown_are_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read back as settings."""
    monkeypatch.chdir(tmp_path)
    Path(CONFIG_NAME).write_text(_defaults_uncommented(file_text({})))

    assert resolve({}) == Settings()


def test_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `for example:` line is a valid setting."""
    monkeypatch.chdir(tmp_path)
    marked = "# for example: "
    lines = [line for line in file_text({}).splitlines() if line.startswith(marked)]
    Path(CONFIG_NAME).write_text("\n".join(line.removeprefix(marked) for line in lines))

    assert len(lines) == sum(explained.example is not None for explained in EXPLAINED)
    assert resolve({}).include == ("django*", "numpy")


def test_what_is_given_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options on the command line of `init` are in force in its file."""
    monkeypatch.chdir(tmp_path)
    chosen = {"contact": "you@example.org", "rate": 5.0, "include": ("a*",), "data": Path("x")}

    assert init({**chosen, **NOTHING}) == 0
    assert resolve({}) == Settings(
        data=Path("x"), contact="you@example.org", rate=5.0, include=("a*",)
    )


def test_an_existing_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless --force says otherwise."""
    monkeypatch.chdir(tmp_path)
    Path(CONFIG_NAME).write_text("rate = 1\n")

    with pytest.raises(UsageError) as raised:
        init(NOTHING)

    assert "--force" in raised.value.hint
    assert Path(CONFIG_NAME).read_text() == "rate = 1\n"
    assert init({**NOTHING, "force": True}) == 0
    assert resolve({}) == Settings()


def test_what_cannot_work_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that every later command would refuse is of no use."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError):
        init({**NOTHING, "rate": -4.0})

    assert not Path(CONFIG_NAME).exists()


def test_check_shows_what_a_file_sets(tmp_path: Path) -> None:
    """Every setting with its value, those that differ from the default marked."""
    (tmp_path / CONFIG_NAME).write_text('rate = 5\ncontact = "you@example.org"\n')
    done = run("init", "--check", cwd=tmp_path)

    assert done.returncode == 0
    assert "rate = 5.0   # changed" in done.stdout.splitlines()
    assert "poll = 10.0" in done.stdout.splitlines()
    assert tomllib.loads(done.stdout)["contact"] == "you@example.org"


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    """Exit 2, the key, and what was meant."""
    (tmp_path / CONFIG_NAME).write_text("rat = 5\n")
    done = run("init", "--check", cwd=tmp_path)

    assert done.returncode == 2
    assert "unknown setting 'rat'" in done.stderr
    assert "did you mean 'rate'?" in done.stderr


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_survives_toml(text: str) -> None:
    """Quotes, line ends, control characters: what is written is what is read."""
    assert tomllib.loads(f"x = {toml_value(text)}") == {"x": text}
    assert tomllib.loads(f"x = {toml_value([text, text])}") == {"x": [text, text]}

"""Where a setting's value comes from, and which values there are."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import click
import pytest

from pypistream.cli import app
from pypistream.place import located
from pypistream.settings import CONFIG_NAME, Settings, resolve
from schemas.errors import UsageError
from schemas.filters import in_words, kept

RUN = app.get_command(click.Context(app), "run")


def _given(*arguments: str) -> dict[str, object]:
    """What `pypistream run` hands on: flags, and the environment where there is no flag."""
    assert RUN is not None
    return dict(RUN.make_context("run", list(arguments)).params)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)


def _resolved(*arguments: str, stored: dict[str, object] | None = None) -> Settings:
    given = _given(*arguments)
    return resolve({name: given[name] for name in (*_NAMES, "config")}, stored)


_NAMES = [field.name for field in fields(Settings)]


def test_flags_win_over_everything_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag > environment > file > data directory > default, each layer taken away in turn."""
    monkeypatch.setenv("PYPISTREAM_RATE", "4")
    file = Path(CONFIG_NAME)
    file.write_text("rate = 3\n")
    stored: dict[str, object] = {"rate": 2, "format": 1}

    seen = [_resolved("--rate", "5", stored=stored).rate, _resolved(stored=stored).rate]
    monkeypatch.delenv("PYPISTREAM_RATE")
    seen.append(_resolved(stored=stored).rate)
    file.unlink()
    seen += [_resolved(stored=stored).rate, _resolved().rate]

    assert seen == [5, 4, 3, 2, 10]


@pytest.mark.parametrize("name", [name for name in _NAMES if name not in ("include", "exclude")])
def test_every_setting_has_a_flag_a_variable_and_a_key(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name three times, and all three arrive."""
    value = _other(name)
    flag = "--" + name.replace("_", "-")
    given = [flag] if value is True else [flag, str(value)]
    by_flag = getattr(_resolved(*given), name)
    monkeypatch.setenv(f"PYPISTREAM_{name.upper()}", str(value))
    by_variable = getattr(_resolved(), name)
    monkeypatch.delenv(f"PYPISTREAM_{name.upper()}")
    Path(CONFIG_NAME).write_text(f"{name.replace('_', '-')} = {json.dumps(value)}\n")
    by_key = getattr(_resolved(), name)

    assert (
        by_flag
        == by_variable
        == by_key
        == ((value,) if isinstance(by_key, tuple) else type(by_key)(value))
    )
    assert by_flag != getattr(Settings, name)


def _other(name: str) -> str | int | float:
    """A value that is not the default."""
    default = getattr(Settings, name)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 1
    return _OTHERS.get(name, "other")


_OTHERS: dict[str, str | int] = {
    "contact": "other@my-host.net",
    "leave_out": "author",
    "kafka": "kafka.example.org:9092,[::1]:9093",
    "kafka_mechanism": "PLAIN",
    "kafka_security": "SASL_SSL",
    "partitions": 5,
    "releases": "latest",
    "keep_removed": "all",
}


def test_globs_come_from_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated flags, words in the variable, a list or one text in the file."""
    by_flag = _resolved("--include", "a*", "--include", "b").include
    monkeypatch.setenv("PYPISTREAM_INCLUDE", "a* b")
    by_variable = _resolved().include
    monkeypatch.delenv("PYPISTREAM_INCLUDE")
    Path(CONFIG_NAME).write_text('include = ["a*", "b"]\nexclude = "c"\n')
    by_key = _resolved()

    assert by_flag == by_variable == by_key.include == ("a*", "b")
    assert by_key.exclude == ("c",)


def test_globs_are_understood_as_people_write_names() -> None:
    """Else a log that is to hold `Django*` and `zope.interface` would hold nothing, for ever."""
    rule = _resolved("--include", "Django*", "--include", "zope.interface").filter

    assert rule == _resolved("--include", "zope-interface", "--include", "django*").filter
    assert [kept(name, rule) for name in ("django-rq", "zope-interface", "numpy")] == [
        *(True, True, False)
    ]


def test_a_filter_is_told_in_words() -> None:
    """In errors, in `status`, and where a `run` begins."""
    said = [
        in_words(_resolved(*options).filter)
        for options in (
            (),
            ("--include", "A*", "--include", "b"),
            ("--exclude", "b*"),
            ("--include", "a*", "--exclude", "ab*"),
        )
    ]

    assert said == ["all projects", "only a*, b", "all but b*", "only a*, without ab*"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate = -1", "rate = -1.0 is out of range"),
        ("rate = nan", "rate = nan is out of range"),
        ("rate = inf", "rate = inf is out of range"),
        ("in-flight = 0", "in_flight = 0 is out of range"),
        ("in-flight = 17", "in_flight = 17 is out of range"),
        ("poll = 0.9", "poll = 0.9 is out of range"),
        ("settle = -0.1", "settle = -0.1 is out of range"),
        ("snapshot-every = 0", "snapshot_every = 0.0 is out of range"),
        ("dump-every = 604801", "dump_every = 604801.0 is out of range"),
        ("once-wait = 90000", "once_wait = 90000.0 is out of range"),
        ("no-xmlrpc = 1", "no_xmlrpc = 1 is not what it should be"),
        ("partitions = 0", "partitions = 0 is out of range"),
        ('partitions = "few"', "partitions = 'few' is not what it should be"),
        ('kafka = "broker"', "kafka = 'broker' is not what it should be"),
        ('kafka = "a:1,b"', "kafka = 'a:1,b' is not what it should be"),
        ('kafka_prefix = "pypi "', "kafka_prefix = 'pypi ' is not what it should be"),
        ('kafka_security = "TLS"', "kafka_security = 'TLS'"),
        ('kafka_mechanism = "GSSAPI"', "kafka_mechanism = 'GSSAPI'"),
        ('kafka_password = "secret"', "unknown setting 'kafka_password'"),
        ('releases = "some"', "releases = 'some'"),
        ('include = "django,numpy"', "include: 'django,numpy' fits no project's name"),
        ('exclude = ["a", ""]', "exclude: '' fits no project's name"),
        ('data = ""', "data = '' is not what it should be"),
        ('rate = "fast"', "rate = 'fast' is not what it should be"),
        ("include = 4", "include = 4 is not what it should be"),
        ("rat = 4", "unknown setting 'rat'"),
        ("rate = ", "pypistream.toml cannot be read"),
    ],
)
def test_what_cannot_work_is_refused_by_name(text: str, says: str) -> None:
    """Whatever the layer, the setting is named, and the hint says what would do."""
    Path(CONFIG_NAME).write_text(text + "\n")

    with pytest.raises(UsageError) as raised:
        resolve({})

    assert says in str(raised.value)


def test_who_did_not_type_it_just_now_is_told_where_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A value in the file, a value in the environment; a flag is on the command line."""
    Path(CONFIG_NAME).write_text('rate = "fast"\n')
    with pytest.raises(UsageError, match=rf"^{CONFIG_NAME}: rate = 'fast'") as raised:
        resolve({})

    assert raised.value.hint
    with pytest.raises(click.BadParameter) as by_flag:
        _given("--rate", "fast")
    assert "Invalid value for '--rate'" in by_flag.value.format_message()
    monkeypatch.setenv("PYPISTREAM_RATE", "fast")
    with pytest.raises(click.BadParameter) as by_variable:
        _given()
    assert "PYPISTREAM_RATE in the environment" in by_variable.value.format_message()


def test_the_hint_knows_what_was_meant() -> None:
    """For a key as for an option."""
    Path(CONFIG_NAME).write_text("snapshot-evry = 4\n")

    with pytest.raises(UsageError) as raised:
        resolve({})

    assert raised.value.hint == "did you mean 'snapshot_every'?"


@pytest.mark.parametrize(
    ("remembered", "says"),
    [({"include": ["a,b"]}, "fits no project's name"), ({"colour": "red"}, "unknown setting")],
)
def test_what_a_directory_remembers_and_cannot_work_is_told_where_it_stands(
    remembered: dict[str, object], says: str, tmp_path: Path
) -> None:
    """Another version may have written it; what somebody gave just now is theirs all the same."""
    (tmp_path / "settings.json").write_text(json.dumps(remembered))
    with pytest.raises(UsageError, match=says) as raised:
        located({"data": tmp_path})
    with pytest.raises(UsageError, match=r"^poll = 0"):
        located({"data": tmp_path, "poll": 0})

    assert str(raised.value).startswith(f"{tmp_path / 'settings.json'}: ")
    assert "remove the file" in raised.value.hint


def test_a_directory_remembers_its_settings(tmp_path: Path) -> None:
    """Whoever gives --data needs nothing else; a flag still wins."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "settings.json").write_text(
        '{"format": 1, "poll": 7.0, "upstream": "http://127.0.0.1"}'
    )

    settings, directory = located({"data": data})
    overruled, _ = located({"data": data, "poll": 9.0})

    assert (settings.poll, settings.upstream, settings.data) == (7, "http://127.0.0.1", data)
    assert overruled.poll == 9
    assert directory.root == data

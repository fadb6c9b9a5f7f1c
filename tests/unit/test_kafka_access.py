"""How the settings become an access to Kafka, and where its password is and is not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from pypistream import options
from pypistream.children.sinks_child import child_command
from pypistream.kafka_access import PASSWORD_VARIABLE
from pypistream.place import located
from pypistream.settings import KAFKA_NAMES, Settings, resolve
from schemas.errors import UsageError
from streams.kafka_settings import MECHANISMS, PROTOCOLS

SECRET = "s3cret with spaces"
SASL: dict[str, object] = {
    "kafka": "broker.example.org:9092",
    "kafka_security": "SASL_PLAINTEXT",
    "kafka_username": "reader",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file and no password of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def _with_file(text: str) -> Settings:
    Path("password").write_text(text)
    return resolve({**SASL, "kafka_password_file": "password"})


def test_without_an_address_the_log_is_embedded() -> None:
    """Whatever else is set."""
    assert resolve({"kafka_username": "reader"}).kafka_settings() is None


def test_an_address_is_enough() -> None:
    """Plain text, our prefix, no name: a broker on one's own machine."""
    access = resolve({"kafka": "127.0.0.1:9092"}).kafka_settings()

    assert access is not None
    assert (access.bootstrap, access.prefix) == ("127.0.0.1:9092", "pypi.")
    assert (access.security.protocol, access.security.username) == ("PLAINTEXT", "")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_password_is_the_line_of_its_file(end: str) -> None:
    """With the line's end, as an editor leaves it, or without, as a secret store does."""
    access = _with_file(SECRET + end).kafka_settings()

    assert access is not None
    assert access.security.password == SECRET


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every other setting."""
    monkeypatch.setenv(PASSWORD_VARIABLE, "other")
    access = _with_file(SECRET).kafka_settings()

    assert access is not None
    assert access.security.password == "other"


def test_the_password_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in what is stored, shown, or given to a child process."""
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    settings = resolve(SASL)
    shown = [
        repr(settings),
        repr(asdict(settings)),
        repr(settings.kafka_settings()),
        json.dumps(settings.stored()),
        " ".join(child_command("sinks", settings)),
    ]

    assert [text for text in shown if SECRET in text] == []
    assert all("reader" in text for text in shown)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not hold one line"),
        ("\n", "does not hold one line"),
        (f"{SECRET}\nmore\n", "does not hold one line"),
        (f"{SECRET}{'x' * 5_000}", "does not hold one line"),
    ],
)
def test_a_file_that_holds_no_password_is_refused(text: str, says: str) -> None:
    """The file is named, what is in it is not."""
    with pytest.raises(UsageError, match=says) as raised:
        _with_file(text).kafka_settings()

    assert "password" in str(raised.value)
    assert SECRET not in str(raised.value) + raised.value.hint


def test_a_file_that_is_no_text_shows_nothing_of_itself() -> None:
    """A decoding error carries the bytes it failed on."""
    Path("password").write_bytes(b"s3cret\xff")
    with pytest.raises(UsageError, match="it is not UTF-8") as raised:
        resolve({**SASL, "kafka_password_file": "password"}).kafka_settings()

    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "no password for the Kafka user 'reader'"),
        ({"kafka_password_file": "nowhere"}, "nowhere cannot be read"),
        ({"kafka_security": "SSL", "kafka_password_file": "x"}, "SSL sends no password"),
        ({"kafka_security": "PLAINTEXT"}, "PLAINTEXT sends neither"),
    ],
)
def test_what_does_not_fit_is_said(changed: dict[str, object], says: str) -> None:
    """Before anything connects."""
    with pytest.raises(UsageError, match=says):
        resolve({**SASL, **changed}).kafka_settings()


def test_choices_are_those_of_the_client() -> None:
    """They are written out where loading the client would cost `--help` its time."""

    @options.kafka
    def nothing() -> None: ...

    choices = {
        each.name: set(each.type.choices)
        for each in nothing.__click_params__  # type: ignore[attr-defined]  # set by click
        if isinstance(each.type, click.Choice)
    }
    for protocol in PROTOCOLS:
        assert resolve({"kafka_security": protocol}).kafka_security == protocol
    for mechanism in MECHANISMS:
        assert resolve({"kafka_mechanism": mechanism}).kafka_mechanism == mechanism

    assert choices == {"kafka_security": set(PROTOCOLS), "kafka_mechanism": set(MECHANISMS)}


def test_a_child_gets_every_setting_but_the_secret() -> None:
    """Read back they are the same, whatever the child may find in its environment."""
    settings = resolve({**SASL, "kafka_prefix": "x.", "kafka_cafile": "ca.pem"})
    parts = child_command("sinks", settings)
    flags = dict(zip(parts[::2], parts[1::2], strict=True))

    for name in KAFKA_NAMES:
        assert flags["--" + name.replace("_", "-")] == getattr(settings, name)


def test_stored_files_are_found_from_everywhere(tmp_path: Path) -> None:
    """Whoever gives --data may work in another directory."""
    stored = resolve({**SASL, "kafka_cafile": "ca.pem"}).stored()

    assert stored["kafka_cafile"] == str(tmp_path / "ca.pem")
    assert stored["kafka_keyfile"] == ""


def test_partitions_of_another_log_are_forgotten(tmp_path: Path) -> None:
    """A directory that held an embedded log of one partition can turn to Kafka, and back."""
    data = tmp_path / "data"
    data.mkdir()
    stored = {"format": 1, "kafka": "127.0.0.1:9092", "partitions": 4, "rate": 3.0}
    (data / "settings.json").write_text(json.dumps(stored))

    same, _ = located({"data": data})
    other, _ = located({"data": data, "kafka": "127.0.0.1:9093"})
    back, _ = located({"data": data, "kafka": ""})

    assert (same.partitions, same.kafka) == (4, "127.0.0.1:9092")
    assert (other.partitions, other.rate) == (None, 3.0)
    assert (back.partitions, back.kafka) == (None, "")


def test_an_embedded_run_never_loads_a_kafka_client() -> None:
    """It costs 0.1 s and 10 MB that only a log on Kafka needs; a table nobody sees half of that."""
    code = (
        "import sys, asyncio\n"
        "from pathlib import Path\n"
        "from pypistream.quick import load_logging\n"
        "load_logging()\n"
        "import pypistream.run.running, pypistream.read.following\n"
        "import pypistream.children.sinks_process, pypistream.children.serve_role\n"
        "assert 'rich.console' not in sys.modules\n"
        "import pypistream.health.status, pypistream.health.doctor\n"
        "from pypistream.data_dir import DataDir\n"
        "from pypistream.settings import Settings\n"
        "from pypistream.wiring import open_log\n"
        "async def main():\n"
        "    log = await open_log(Settings(), DataDir(Path('data')))\n"
        "    await log.close()\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith(('aiokafka', 'streams.kafka'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"

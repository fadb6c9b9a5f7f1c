"""A data directory whose log is on Kafka, and what needs no broker to be said of it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from pypistream.settings import CONFIG_NAME, resolve
from tests.support.reading_world import run

NOBODY = "127.0.0.1:9"  # the discard port: nothing listens there
REMEMBERED = {"format": 1, "kafka": NOBODY, "kafka_prefix": "x."}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory as a sink leaves it that has published nothing yet."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/settings.json").write_text(json.dumps(REMEMBERED))
    return tmp_path


def test_query_says_what_would_make_a_snapshot(data: Path) -> None:
    """It needs no log, so it asks no broker."""
    done = run("query", "select 1", "--data", "d", cwd=data)

    assert done.returncode == 2
    assert "`pypistream sink duckdb --data d`" in done.stderr


def test_a_demo_keeps_off(data: Path) -> None:
    """Synthetic changes have no business beside a real log."""
    done = run("demo", "--data", "d", cwd=data)

    assert done.returncode == 2
    assert "holds a log already" in done.stderr
    assert json.loads((data / "d/settings.json").read_text()) == REMEMBERED


@pytest.mark.parametrize("command", ["status", "follow", "dead-letters", "dump", "doctor"])
def test_a_broker_that_is_gone_is_named(data: Path, command: str) -> None:
    """One error, with the address that the directory remembers; no embedded log is made."""
    done = run(command, "--data", "d", cwd=data)

    assert done.returncode == 1
    assert NOBODY in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (data / "d/log.sqlite").exists()


def test_a_flag_leads_back_to_the_embedded_log(data: Path) -> None:
    """An empty address, as for every other setting whose default is empty."""
    done = run("status", "--data", "d", "--kafka", "", cwd=data)

    assert done.returncode == 2
    assert "no log in d" in done.stderr


def test_a_settings_file_names_the_log(tmp_path: Path) -> None:
    """`init` writes it, explained; the password has no place in it."""
    flags = ("--kafka", "a.example.org:9092", "--kafka-security", "SASL_SSL", "--kafka-username")
    done = run("init", *flags, "writer", cwd=tmp_path)
    text = (tmp_path / CONFIG_NAME).read_text()
    settings = resolve({"config": tmp_path / CONFIG_NAME})

    assert done.returncode == 0
    assert set(tomllib.loads(text)) == {"kafka", "kafka_security", "kafka_username"}
    assert (settings.kafka, settings.kafka_username) == ("a.example.org:9092", "writer")
    assert "PYPISTREAM_KAFKA_PASSWORD" in text
    assert "kafka_password =" not in text

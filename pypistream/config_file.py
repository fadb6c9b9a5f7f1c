"""`pypistream init`: a settings file that explains itself, and a check of one that exists."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from pypistream.settings import CONFIG_NAME, Settings, resolve
from pypistream.terminal import Stdout
from schemas.errors import UsageError


class Explained(NamedTuple):
    """A setting in the file. `example` is shown where the default explains nothing."""

    name: str
    text: str
    example: object = None


EXPLAINED = (
    Explained(
        "data", "Where everything lies: log, snapshot, dumps. Relative to where you start it."
    ),
    Explained(
        "upstream",
        'Where documents come from: "" is PyPI itself, else scheme and host of a mirror or of\n'
        "`pypistream upstream`.",
        "http://127.0.0.1:8765",
    ),
    Explained(
        "contact",
        "Mail address or URL, sent to PyPI in the User-Agent, so that its operators know whom to\n"
        "ask. PyPI itself is not read without one.",
        "you@example.org",
    ),
    Explained("rate", "Fetches per second. 10 is what PyPI tolerates; 0 = unlimited (own mirror)."),
    Explained("in_flight", "Requests at once, 1 to 16."),
    Explained("poll", "Seconds between looks at the journal, at least 1."),
    Explained(
        "settle",
        "Seconds that a burst of events of one project is waited out before its document is\n"
        "fetched.",
    ),
    Explained("snapshot_every", "Seconds between DuckDB files (pypi.duckdb)."),
    Explained("dump_every", "Seconds between dumps (dumps/)."),
    Explained(
        "tables_every",
        "Seconds between the DuckDB file and the Parquet files of a dump, 0 = it has none.",
    ),
    Explained("keep_deltas", "Seconds for which deltas (dumps/deltas/) are kept, 0 = none."),
    Explained(
        "keep_hourly", "Seconds for which the first dump of each hour (dumps/full/) is kept."
    ),
    Explained("keep_daily", "Seconds for which the first dump of each day (UTC) is kept."),
    Explained(
        "keep_removed",
        "What the DuckDB file and the feeds keep of projects that are gone: none, hashes\n"
        "(version, file names, hashes) or all (everything, persons' names and addresses too).",
    ),
    Explained("once_wait", "With `run --once`: what is due within these seconds is waited for."),
    Explained(
        "sweep_every",
        "Seconds in which every project is looked at once for what PyPI's journal never tells,\n"
        "at a quarter of `rate` at most; 0 = never.",
    ),
    Explained(
        "no_xmlrpc",
        "true follows PyPI's index in place of its journal (XML-RPC). Else that begins when the\n"
        "journal has been gone for five minutes.",
    ),
    Explained(
        "releases",
        '"all" keeps a slim form of every release of a project, "latest" only its latest\n'
        "metadata. A log is made with one of them and keeps it.",
    ),
    Explained(
        "include",
        "Only projects whose normalised name matches one of these globs; empty = all. A log is\n"
        "made with one filter and keeps it.",
        ("django*", "numpy"),
    ),
    Explained("exclude", "Not these projects, even if included.", ("*-nightly",)),
    Explained(
        "leave_out",
        "Fields that a new log holds of no project: `personal` is author, author_email,\n"
        "maintainer, maintainer_email and ownership, and user names in the journal are masked,\n"
        "too. `pypistream redact` leaves more out later.",
        ("personal",),
    ),
    Explained(
        "partitions",
        "Partitions of a new log, each with a worker of its own: 12 on Kafka, else 1, which is\n"
        "enough for PyPI. A log that exists keeps what it has.",
        4,
    ),
    Explained(
        "http",
        'Where `run` and `serve` answer over HTTP: HOST:PORT. With "" `run` does not, and `serve`\n'
        "takes 127.0.0.1:8000.",
        "127.0.0.1:8000",
    ),
    Explained(
        "http_host",
        "Names that the service is reached by, beside localhost and IP addresses; behind a proxy\n"
        'that is the name it is asked by. "*" is any.',
        ("pypi.example.org",),
    ),
    Explained(
        "sql",
        "true answers SQL over HTTP, too (/v1/sql): each query in a process of its own, that is\n"
        "bounded and killed after 5 s.",
    ),
    Explained("http_log", "true writes a line of the log for every request over HTTP."),
    Explained(
        "kafka",
        'The log on Apache Kafka: HOST:PORT of one broker or of several, with commas. "" is the\n'
        "embedded log in the data directory.",
        "127.0.0.1:9092",
    ),
    Explained("kafka_prefix", "What names of topics and of transactions begin with."),
    Explained("kafka_security", "PLAINTEXT, SSL (TLS), SASL_PLAINTEXT or SASL_SSL.", "SASL_SSL"),
    Explained("kafka_mechanism", "With SASL: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN."),
    Explained("kafka_username", "With SASL: who we are.", "pypistream"),
    Explained(
        "kafka_password_file",
        "With SASL: a file with the password. Or put the password into PYPISTREAM_KAFKA_PASSWORD;\n"
        "it is in no settings file and on no command line.",
        "/run/secrets/kafka-password",
    ),
    Explained(
        "kafka_cafile",
        "With SSL: the authorities that may vouch for brokers, PEM; else those of the system.",
        "/etc/pypistream/ca.pem",
    ),
    Explained(
        "kafka_certfile", "With SSL: our certificate, PEM (mTLS).", "/etc/pypistream/own.pem"
    ),
    Explained("kafka_keyfile", "With SSL: its key, PEM.", "/etc/pypistream/own.key"),
)

HEADER = """\
# Settings of pypistream. A line that begins with `#` shows the default, or an example.
# What counts: flags, then PYPISTREAM_* in the environment, then this file, then what the data
# directory remembers, then the defaults. Check this file: pypistream init --check
"""


def init(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    path = Path(str(given.get("config") or CONFIG_NAME))
    if given["check"]:
        return _check(path)
    chosen = {
        field.name: given[field.name]
        for field in fields(Settings)
        if given.get(field.name) not in (None, ())
    }
    resolve({**chosen, "config": os.devnull})  # the chosen values must work on their own
    _write(path, file_text(chosen), force=bool(given["force"]))
    sys.stderr.write(f"wrote {path}; `pypistream init --check` checks it after a change\n")
    return 0


def _check(path: Path) -> int:
    settings = resolve({"config": path})
    stdout = Stdout()
    for field in fields(Settings):
        value = getattr(settings, field.name)
        if value is None:
            stdout.write(f"# {field.name} is not set\n".encode())
            continue
        mark = "" if value == field.default else "   # changed"
        stdout.write(f"{field.name} = {toml_value(value)}{mark}\n".encode())
    sys.stderr.write(f"{path} is valid\n")
    return 0


def file_text(chosen: Mapping[str, object]) -> str:
    """The file: every setting explained; those in `chosen` set, the others as comments. Pure."""
    blocks = [HEADER, *(_block(explained, chosen) for explained in EXPLAINED)]
    return "\n".join(blocks)


def _block(explained: Explained, chosen: Mapping[str, object]) -> str:
    lines = [f"# {line}" for line in explained.text.splitlines()]
    return "\n".join([*lines, *_setting(explained, chosen)]) + "\n"


def _setting(explained: Explained, chosen: Mapping[str, object]) -> Iterator[str]:
    if explained.name in chosen:
        yield f"{explained.name} = {toml_value(chosen[explained.name])}"
        return
    default = getattr(Settings, explained.name)
    if explained.example is not None:
        yield f"# for example: {explained.name} = {toml_value(explained.example)}"
    if default is not None:
        yield f"# {explained.name} = {toml_value(default)}"


def toml_value(value: object) -> str:
    """A value of Settings in TOML, whose strings, numbers and arrays of them are JSON's."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    # DEL is the one character that JSON leaves as it is and TOML refuses.
    text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists", hint="--check checks it, --force replaces it") from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            hint="choose another place with --config FILE",
        ) from error

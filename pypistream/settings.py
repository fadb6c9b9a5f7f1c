"""Settings, by precedence: flags, PYPISTREAM_*, pypistream.toml, data directory, defaults."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import UsageError
from schemas.filters import checked_glob, project_glob
from schemas.records import Filter
from schemas.redaction import ALL_PERSONAL, FIELDS, known_fields
from sinks.dump.keep import KEEP_DAILY_SECONDS, KEEP_DELTAS_SECONDS, KEEP_HOURLY_SECONDS
from sinks.removed import KEEP_REMOVED

if TYPE_CHECKING:
    from streams.kafka_settings import KafkaSettings

CONFIG_NAME = "pypistream.toml"
DEFAULT_DATA = Path("pypistream-data")
TABLES_SECONDS = 3_600.0  # for all of PyPI they take a core some minutes
SWEEP_SECONDS = 604_800.0  # a week: feasible with a quarter of PyPI's rate, with a day to spare


@dataclass(frozen=True)
class Settings:
    """The settings of a `run`. Periods in seconds, `rate` in fetches per second (0 = unlimited).

    `upstream` "" is PyPI itself, which wants a `contact` (mail address or URL) in the User-Agent.
    `kafka` "" is the embedded log. `partitions` None = as many as the log has; a new one gets 1, on
    Kafka 12. `http` "": nothing is served; `http_host`: host names that clients may use; `sql`:
    clients may ask SQL; `http_log`: log each request. No secret is among them: `kafka_settings`
    reads the password where it is needed.
    """

    data: Path = DEFAULT_DATA
    upstream: str = ""
    contact: str = ""
    rate: float = 10.0
    in_flight: int = 8
    poll: float = 10.0
    settle: float = 3.0
    snapshot_every: float = 60.0
    dump_every: float = 600.0
    tables_every: float = TABLES_SECONDS
    keep_deltas: float = KEEP_DELTAS_SECONDS
    keep_hourly: float = KEEP_HOURLY_SECONDS
    keep_daily: float = KEEP_DAILY_SECONDS
    keep_removed: str = "hashes"
    once_wait: float = 60.0
    sweep_every: float = SWEEP_SECONDS
    no_xmlrpc: bool = False
    releases: str = "all"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    partitions: int | None = None
    http: str = ""
    http_host: tuple[str, ...] = ()
    sql: bool = False
    http_log: bool = False
    kafka: str = ""
    kafka_prefix: str = "pypi."
    kafka_security: str = "PLAINTEXT"
    kafka_mechanism: str = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password_file: str = ""
    kafka_cafile: str = ""
    kafka_certfile: str = ""
    kafka_keyfile: str = ""

    @property
    def filter(self) -> Filter:
        """The projects to hold: globs as users write them, on normalised names."""
        include, exclude = map(project_glob, self.include), map(project_glob, self.exclude)
        return Filter(tuple(sorted(include)), tuple(sorted(exclude)))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Fields that a new log leaves out of every document."""
        return tuple(sorted(known_fields(self.leave_out)))

    def stored(self) -> dict[str, object]:
        """What the data directory remembers: everything except its own path."""
        values = asdict(self)
        del values["data"]
        for name in KAFKA_FILES:
            if values[name]:
                values[name] = str(Path(values[name]).absolute())  # whoever reads it is elsewhere
        return values

    def kafka_settings(self) -> KafkaSettings | None:
        """How to reach Kafka, including the password; None = the log is embedded.

        Raises UsageError if the password is missing or cannot be read.
        """
        if not self.kafka:
            return None
        from pypistream.kafka_access import Identity, access  # loads a Kafka client: 0.1 s

        identity = Identity(
            self.kafka_security,
            self.kafka_mechanism,
            self.kafka_username,
            self.kafka_cafile,
            self.kafka_certfile,
            self.kafka_keyfile,
        )
        return access(self.kafka, self.kafka_prefix, identity, self.kafka_password_file)


KAFKA_FILES = ("kafka_password_file", "kafka_cafile", "kafka_certfile", "kafka_keyfile")
_NAMES = frozenset(field.name for field in fields(Settings))
KAFKA_NAMES = tuple(field.name for field in fields(Settings) if field.name.startswith("kafka"))


_LIMITS: dict[str, tuple[float, float, str]] = {
    "rate": (0, 1_000_000, "fetches per second; 0 = unlimited"),
    "in_flight": (1, 16, "requests at once; more than 16 is no manners"),
    "poll": (1, 86_400, "seconds; PyPI asks for at least one between calls"),
    "settle": (0, 3_600, "seconds"),
    "snapshot_every": (1, 86_400, "seconds"),
    "dump_every": (1, 604_800, "seconds"),
    "tables_every": (0, 31_536_000, "seconds; 0 = none are made"),
    "keep_deltas": (0, 31_536_000, "seconds; 0 = none are made"),
    "keep_hourly": (0, 31_536_000, "seconds; 0 = none are kept"),
    "keep_daily": (0, 315_360_000, "seconds; 0 = none are kept"),
    "once_wait": (0, 86_400, "seconds"),
    "sweep_every": (0, 31_536_000, "seconds; 0 = no sweep"),
    "partitions": (1, 1_024, "partitions"),
}


_CHOICES: dict[str, tuple[str, ...]] = {
    "releases": ("all", "latest"),
    "keep_removed": KEEP_REMOVED,
    "kafka_security": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka_mechanism": ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"),
}

# Brokers as HOST:PORT or [IPv6]:PORT; the prefix begins the names of topics and transactions.
_BROKER = r"(?:[^\s,:/@\[\]]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
_SHAPES: dict[str, tuple[re.Pattern[str], str]] = {
    "kafka": (re.compile(rf"(?:{_BROKER}(?:,{_BROKER})*)?"), "HOST:PORT, or several with commas"),
    "kafka_prefix": (re.compile(r"[A-Za-z0-9._-]{1,100}"), "letters, digits, '.', '_' and '-'"),
}

# It must be possible to reach somebody: a mail address with a domain, or a web page.
_CONTACT = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+|https?://[^\s/]+\.\S+")


def resolve(given: Mapping[str, object], stored: Mapping[str, object] | None = None) -> Settings:
    """Resolve all settings. `given`: flags and environment, None = not given. Raises UsageError."""
    merged = {**_file(given.get("config")), **_present(given)}
    below = {name: value for name, value in (stored or {}).items() if value is not None}
    if merged.get("kafka", below.get("kafka", "")) != below.get("kafka", ""):
        below.pop("partitions", None)  # settings of another log
    merged = {**below, **merged}
    merged.pop("config", None)
    merged.pop("format", None)
    for name in merged:
        _check_known(name)
    return _checked(merged)


def _present(given: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in given.items() if value is not None and value != ()}


def _file(path: object) -> dict[str, object]:
    place = Path(str(path)) if path else Path(CONFIG_NAME)
    try:
        values = tomllib.loads(place.read_text())
    except FileNotFoundError as error:
        if path:
            raise UsageError(
                f"{place} does not exist", hint="`pypistream init` writes one"
            ) from error
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{place} cannot be read: {error}", hint="`pypistream init` shows how"
        ) from error
    return dict(_of_file(place, name, value) for name, value in values.items())


def _of_file(place: Path, written: str, value: object) -> tuple[str, object]:
    """A setting of the file.

    Raises UsageError that names the file, since nobody typed it just now.
    """
    name = written.replace("-", "_")
    try:
        _check_known(name)
        return name, _converted(name, value)
    except UsageError as error:
        raise UsageError(f"{place}: {error}", hint=error.hint) from error


def _check_known(name: str) -> None:
    if name not in _NAMES:
        close = difflib.get_close_matches(name, _NAMES, 1)
        known = f"known are {', '.join(sorted(_NAMES))}"
        raise UsageError(
            f"unknown setting {name!r}", hint=f"did you mean {close[0]!r}?" if close else known
        )


def _checked(merged: dict[str, object]) -> Settings:
    values: dict[str, object] = {}
    for field in fields(Settings):
        if field.name in merged:
            values[field.name] = _converted(field.name, merged[field.name])
    settings = Settings(**values)  # type: ignore[arg-type]  # each was converted by its field's name
    for name, (low, high, unit) in _LIMITS.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"{name} = {value} is out of range", hint=f"{low} to {high} {unit}")
    if settings.contact and not _CONTACT.fullmatch(settings.contact):
        raise UsageError(
            f"contact = {settings.contact!r} is neither a mail address nor a URL",
            hint="PyPI's operators use it to reach you: --contact you@your-domain",
        )
    _check_texts(settings)
    return settings


def _check_texts(settings: Settings) -> None:
    for name, choices in _CHOICES.items():
        value = getattr(settings, name)
        if value not in choices:
            hint = " or ".join(f"`{choice}`" for choice in choices)
            raise UsageError(f"{name} = {value!r}", hint=hint)
    for name in ("include", "exclude"):
        try:
            for glob in getattr(settings, name):
                checked_glob(glob)
        except UsageError as error:
            raise UsageError(f"{name}: {error}", hint=error.hint) from error
    for each in settings.leave_out:
        if not known_fields((each,)):
            known = ", ".join((ALL_PERSONAL, *sorted(FIELDS)))
            raise UsageError(f"{each!r} cannot be left out", hint=f"one of {known}")
    for name, (shape, meant) in _SHAPES.items():
        value = getattr(settings, name)
        if not shape.fullmatch(value):
            raise UsageError(f"{name} = {value!r} is not what it should be", hint=meant)


def _folder(text: str) -> Path:
    if not text:
        raise ValueError("a directory has a name; `.` is the current one")
    return Path(text)


def _whole(value: object) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("a whole number is expected")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is expected")  # noqa: TRY004  as for the other kinds
    return value


def _converted(name: str, value: object) -> object:
    default = getattr(Settings, name)
    try:
        if name == "data":
            return _folder(str(value))
        if isinstance(default, tuple):
            return tuple([value] if isinstance(value, str) else (str(item) for item in value))  # type: ignore[attr-defined]
        if isinstance(default, bool):
            return _yes_or_no(value)
        if isinstance(default, int) or name == "partitions":
            return _whole(value)
        if isinstance(default, float):
            return float(value)  # type: ignore[arg-type]
        return str(value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{name} = {value!r} is not what it should be: {error}",
            hint="`pypistream init` writes a file that shows every setting",
        ) from error

"""How to connect to Kafka, according to the settings; the only place that reads its password.

The password comes from PYPISTREAM_KAFKA_PASSWORD or from the file that `kafka_password_file` names:
a command line can be seen by every user of a machine, and settings are stored and shown.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from schemas.errors import UsageError
from streams.kafka_settings import SASL_PROTOCOLS, KafkaSettings, SecuritySettings

PASSWORD_VARIABLE = "PYPISTREAM_KAFKA_PASSWORD"  # noqa: S105  its name, not its value
PASSWORD_CHARACTERS_MAX = 4_096  # a larger file is no password


class Identity(NamedTuple):
    """Who we are and how the connection is protected, as the settings say; all but the password."""

    protocol: str
    mechanism: str
    username: str
    cafile: str
    certfile: str
    keyfile: str


def access(bootstrap: str, prefix: str, identity: Identity, password_file: str) -> KafkaSettings:
    """Everything a client needs. Raises UsageError for what is missing or does not fit."""
    password = ""
    if identity.protocol in SASL_PROTOCOLS:
        password = os.environ.get(PASSWORD_VARIABLE) or _read(password_file)
    elif password_file:
        raise UsageError(
            f"{password_file} is given, and {identity.protocol} sends no password",
            hint="add --kafka-security SASL_SSL, or leave the file out",
        )
    security = SecuritySettings(**identity._asdict(), password=password)
    return KafkaSettings(bootstrap, prefix, security)


def _read(path: str) -> str:
    """The file's first and only line; "" without a file."""
    if not path:
        return ""
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(PASSWORD_CHARACTERS_MAX + 1)
    except (OSError, ValueError) as error:  # the text of a decoding error would show the password
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(
            f"the Kafka password's file {path} cannot be read: {why}",
            hint=f"correct the file, or set {PASSWORD_VARIABLE}",
        ) from None
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or len(text) > PASSWORD_CHARACTERS_MAX or "\n" in password:
        raise UsageError(
            f"the Kafka password's file {path} does not hold one line with a password",
            hint=f"correct the file, or set {PASSWORD_VARIABLE}",
        )
    return password

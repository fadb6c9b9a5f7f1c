"""Where a command works: its settings and its data directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from pypistream.data_dir import SETTINGS_NAME, DataDir
from pypistream.settings import Settings, resolve
from schemas.errors import UsageError

NAMES = ("config", *(field.name for field in fields(Settings)))


def located(given: Mapping[str, object]) -> tuple[Settings, DataDir]:
    """Settings in force for `given` flags, and the directory they name. Raises UsageError.

    Options of the command that are not settings are ignored. The settings that the directory itself
    has stored can count only once it is known which directory that is.
    """
    wanted = {name: given[name] for name in NAMES if name in given}
    root = resolve(wanted).data
    stored = DataDir(root).stored()
    seen = json.loads(json.dumps(Settings().stored())) | stored
    return over_stored(wanted, root, stored), DataDir(root, seen)


def over_stored(given: Mapping[str, object], root: Path, stored: Mapping[str, object]) -> Settings:
    """`given` over what the directory remembers.

    Raises UsageError, naming the file of a stored value.

    The user did not type that value just now: another version, or an editor, may have written it.
    """
    try:
        return resolve(given, stored)
    except UsageError as error:
        resolve(given)  # raises for an error in what was given
        place = root / SETTINGS_NAME
        raise UsageError(
            f"{place}: {error}", hint=f"{error.hint}; give the option, or remove the file"
        ) from error

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

    Of a command's options those that are no settings are left out. The directory's own stored
    settings count only once it is known which directory it is.
    """
    wanted = {name: given[name] for name in NAMES if name in given}
    root = resolve(wanted).data
    stored = DataDir(root).stored()
    seen = json.loads(json.dumps(Settings().stored())) | stored
    return over_stored(wanted, root, stored), DataDir(root, seen)


def over_stored(given: Mapping[str, object], root: Path, stored: Mapping[str, object]) -> Settings:
    """`given` over what the directory remembers. Raises UsageError, naming the file if it is that.

    Nobody typed it just now: another version may have written it, or an editor.
    """
    try:
        return resolve(given, stored)
    except UsageError as error:
        resolve(given)  # raises what is wrong with what was given
        place = root / SETTINGS_NAME
        raise UsageError(
            f"{place}: {error}", hint=f"{error.hint}; give the option, or remove the file"
        ) from error

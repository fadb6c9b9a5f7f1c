"""Where a command works: its settings and its data directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from pypistream.data_dir import DataDir
from pypistream.settings import Settings, resolve

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
    return resolve(wanted, stored), DataDir(root, seen)

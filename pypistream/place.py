"""Where a command works: its settings and its data directory."""

from __future__ import annotations

from collections.abc import Mapping

from pypistream.data_dir import DataDir
from pypistream.settings import Settings, resolve


def located(given: Mapping[str, object]) -> tuple[Settings, DataDir]:
    """Settings in force for `given` flags, and the directory they name. Raises UsageError.

    The directory's own stored settings count only once it is known which directory it is.
    """
    data = DataDir(resolve(given).data)
    return resolve(given, data.stored()), data

"""The data directory: what its disk refuses is an error of ours, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypistream.data_dir import SETTINGS_NAME, DataDir
from schemas.errors import DataDirectoryInUse, StorageFailed


def test_a_role_is_held_once(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    lock = data.hold("produce")
    with pytest.raises(DataDirectoryInUse, match="holds the role 'produce'"):
        data.hold("produce")
    lock.release()
    data.hold("produce").release()


def test_files_that_cannot_be_written_are_no_traceback(tmp_path: Path) -> None:
    """A folder stands for what else a disk refuses: this runs as root, whom no mode keeps out."""
    data = DataDir(tmp_path)
    (data.state / "produce.lock").mkdir(parents=True)
    (tmp_path / SETTINGS_NAME).mkdir()

    with pytest.raises(StorageFailed, match=r"produce\.lock cannot be written"):
        data.hold("produce")
    with pytest.raises(StorageFailed, match=r"settings\.json cannot be written"):
        data.store({})

"""The data directory: what its disk refuses is an error of ours, with what to do about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pypistream.data_dir import SETTINGS_NAME, DataDir
from pypistream.place import located
from pypistream.settings import Settings
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
    with pytest.raises(StorageFailed, match=r"settings\.json cannot be written") as raised:
        data.store({})
    assert "permissions" in raised.value.hint  # nobody who raises it has to say what to do


def test_roles_that_start_at_the_same_time_keep_each_others_settings(tmp_path: Path) -> None:
    """What a process was told itself is stored; what it took over stays as it is by now."""
    first, _ = located({"data": tmp_path, "rate": 5.0, "poll": 7.0})
    DataDir(tmp_path).store(first.stored())

    process, in_process = located({"data": tmp_path, "rate": 40.0})
    sink, in_sink = located({"data": tmp_path, "include": ("a*",)})
    in_process.store(process.stored())
    in_sink.absolute().store(sink.stored())

    stored = DataDir(tmp_path).stored()
    assert (stored["rate"], stored["poll"], stored["include"]) == (40.0, 7.0, ["a*"])
    assert located({"data": tmp_path})[0] == replace(first, rate=40.0, include=("a*",))


def test_whoever_starts_anew_decides_about_all_of_them(tmp_path: Path) -> None:
    """As `run` does, which nobody else is beside."""
    data = DataDir(tmp_path)
    data.store(Settings(rate=40.0).stored())
    data.store(Settings().stored())

    assert data.stored()["rate"] == Settings().rate

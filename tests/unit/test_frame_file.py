"""Sections that are copied from one file of frames into the next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import DumpCorrupt
from sinks.dump import frame_file
from sinks.dump.frame_file import FrameFile, FrameFileReader, FrameFileWriter, Output

OUTPUT = Output("x.zst", 4)
NAMES = [f"n{number}" for number in range(6)]


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> FrameFile:
    """A file of six sections of one line each."""
    with (
        ThreadPoolExecutor(2) as pool,
        closing(FrameFileWriter(tmp_path, "1", OUTPUT, pool)) as writer,
    ):
        for name in NAMES:
            writer.make([(name, f"{name}, a line\n".encode())])
        writer.end()
        return writer.finish()


@pytest.mark.parametrize("at_once", [1, 60, 1_000_000])
def test_kept_sections_are_the_same_bytes_however_many_are_read_at_once(
    made: FrameFile, tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_file, "COPY_BYTES", at_once)
    with (
        closing(FrameFileReader(tmp_path, made)) as old,
        ThreadPoolExecutor(2) as pool,
        closing(FrameFileWriter(tmp_path, "2", OUTPUT, pool)) as writer,
    ):
        writer.keep(old, range(2))
        writer.keep(old, range(2, 6))
        writer.end()
        copied = writer.finish()
        pieces = [bytes(piece) for piece in old.pieces(range(1, 5))]  # each is good until the next
        assert b"".join(old.frames(number) for number in range(1, 5)) == b"".join(pieces)

    assert (tmp_path / copied.file).read_bytes() == (tmp_path / made.file).read_bytes()
    assert (tmp_path / copied.directory).read_bytes() == (tmp_path / made.directory).read_bytes()
    assert copied.sha256 == made.sha256


@pytest.mark.parametrize("cut", [False, True])
def test_damage_within_neighbours_is_told_by_its_section(
    made: FrameFile, tmp_path: Path, *, cut: bool
) -> None:
    """A flipped bit, or an end too early: what is copied is looked at section by section."""
    path = tmp_path / made.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content[: len(content) // 2] if cut else content)

    with (
        closing(FrameFileReader(tmp_path, made)) as old,
        ThreadPoolExecutor(2) as pool,
        closing(FrameFileWriter(tmp_path, "2", OUTPUT, pool)) as writer,
    ):
        writer.keep(old, range(6))
        writer.end()
        with pytest.raises(DumpCorrupt, match="section 'n3' is damaged"):
            writer.finish()

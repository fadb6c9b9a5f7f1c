"""Copies uPlot, the page's chart, from npm to `sinks/http/page/static`; checks it by its hash.

    python scripts/vendor_uplot.py            fetch (npm pack), check, write
    python scripts/vendor_uplot.py --check    are the files that lie there the ones named here?

A newer version: change VERSION and the hashes, which a failed run prints.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "1.6.32"
ARCHIVE_SHA256 = "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d"
FILES = {
    "dist/uPlot.iife.min.js": (
        "uPlot.min.js",
        "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    ),
    "dist/uPlot.min.css": (
        "uPlot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
    "LICENSE": (
        "uPlot.LICENSE",
        "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    ),
}
"""In the archive, below `package/`: the name here, and the file's SHA-256."""
STATIC = Path(__file__).parents[1] / "sinks" / "http" / "page" / "static"
FILE_BYTES_MAX = 1024 * 1024  # the largest has 51 kB


def main() -> int:
    """Do what the command line says; 1 = something is not what it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fetch and write nothing")
    if parser.parse_args().check:
        found = {name: _file(STATIC / name) for name, _ in FILES.values()}
        return _compared(found)
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, f"uplot@{VERSION}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (path,) = Path(folder).glob("*.tgz")
        if not _same(path.name, path.read_bytes(), ARCHIVE_SHA256):
            return 1
        found = _unpacked(path)
    if _compared(found):
        return 1
    for name, content in found.items():
        (STATIC / name).write_bytes(content)
        print(f"{STATIC / name}: {len(content):,} bytes")
    return 0


def _file(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _unpacked(archive: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(archive) as members:
        for inside, (name, _) in FILES.items():
            member = members.extractfile(f"package/{inside}")
            found[name] = b"" if member is None else member.read(FILE_BYTES_MAX)
    return found


def _compared(found: dict[str, bytes]) -> int:
    wrong = [name for name, sha256 in FILES.values() if not _same(name, found[name], sha256)]
    return min(1, len(wrong))


def _same(name: str, content: bytes, sha256: str) -> bool:
    have = hashlib.sha256(content).hexdigest()
    if have != sha256:
        print(f"{name}: sha256 {have}, not {sha256}", file=sys.stderr)
    return have == sha256


if __name__ == "__main__":
    sys.exit(main())

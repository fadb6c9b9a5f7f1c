"""Project documents for tests: small, synthetic, of today's shape unless a test bends them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from schemas.compression import decompress

SELECTION = Path(__file__).parent.parent / "data" / "recorded.jsonl.zst"
RECORDED = "PYPISTREAM_RECORDED"  # the folder that the whole recorded set is unpacked in
SHA256 = "ab" * 32


class Recorded(NamedTuple):
    """A recorded body and the name it was asked for under."""

    file: str
    kind: str
    grade: str
    asked: str
    body: bytes


def recorded() -> Iterator[Recorded]:
    """The selection in the repository, or the whole set where the environment names it."""
    folder = os.environ.get(RECORDED)
    if folder:
        yield from _whole(Path(folder))
        return
    for line in decompress(SELECTION.read_bytes()).splitlines():
        entry = json.loads(line)
        yield Recorded(**{**entry, "body": entry["body"].encode()})


def _whole(folder: Path) -> Iterator[Recorded]:
    rows = (folder / "INDEX.tsv").read_text().splitlines()
    keys = rows[0].split("\t")
    for row in rows[1:]:
        entry = dict(zip(keys, row.split("\t"), strict=True))
        if entry["kind"] not in {"project", "version", "replay"}:
            continue
        raw = (folder / entry["file"]).read_bytes()
        body = decompress(raw) if entry["file"].endswith(".zst") else raw
        bodies = (
            [json.dumps(json.loads(line)["doc"]).encode() for line in body.splitlines()]
            if entry["kind"] == "replay"
            else [body]
        )
        for each in bodies:
            info = json.loads(each).get("info")
            if info:
                asked = canonicalize_name(info["name"])
                yield Recorded(entry["file"], entry["kind"], entry["grade"], asked, each)


def file(filename: object, /, **changes: Any) -> dict[str, Any]:
    """A file object as PyPI writes it in 2026."""
    return {
        "comment_text": "",
        "core-metadata": {"sha256": SHA256},
        "digests": {"blake2b_256": "cd" * 32, "md5": "ef" * 16, "sha256": SHA256},
        "downloads": -1,
        "filename": filename,
        "has_sig": False,
        "md5_digest": "ef" * 16,
        "packagetype": "bdist_wheel",
        "python_version": "py3",
        "requires_python": ">=3.9",
        "size": 1234,
        "upload_time": "2026-01-02T03:04:05",
        "upload_time_iso_8601": "2026-01-02T03:04:05.000006Z",
        "url": f"https://files.example.org/packages/{filename}",
        "yanked": False,
        "yanked_reason": None,
        **changes,
    }


def document(*versions: str, name: str = "Some.Project", **info: Any) -> dict[str, Any]:
    """A document with one file per release; the last of `versions` is the latest."""
    releases = {version: [file(f"some_project-{version}-py3-none-any.whl")] for version in versions}
    latest = versions[-1] if versions else "1.0"
    return {
        "info": {
            "author": None,
            "classifiers": ["Topic :: Utilities"],
            "description": "Long [text](x) \u2603.",
            "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
            "home_page": "",
            "name": name,
            "project_urls": {"Source": "https://code.example.org"},
            "requires_dist": ['idna; extra == "all"'],
            "summary": "A project.",
            "version": latest,
            "yanked": False,
            **info,
        },
        "last_serial": 1000,
        "ownership": {"organization": None, "roles": [{"role": "Owner", "user": "someone"}]},
        "releases": releases,
        "urls": releases.get(latest, []),
        "vulnerabilities": [],
    }


def body(document: Any) -> bytes:
    """As PyPI writes it: compact, keys sorted, raw UTF-8, a newline at the end."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"

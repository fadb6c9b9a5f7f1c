"""An index that pip installs from (PEP 503, 691, 658), of made-up projects, and the same held here.

Metadata files are served, packages are not: a dry run needs no more, and says what it would take.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any

from packaging.version import Version
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tests.support.memory_library import MemoryLibrary

PROJECTS, LEAVES = 30, 12
JSON = "application/vnd.pypi.simple.v1+json"
VERSIONS = (
    "0.9",
    "1.0",
    "1.0.post1",
    "1.1a1",
    "1.1",
    "1.2rc1",
    "2.0.dev1",
    "2.0",
    "1!0.1",
    "1.1+l.1",
)
TAGS = (
    *("py3-none-any", "py2.py3-none-any", "cp39-abi3-win_amd64", "cp311-cp311-win_amd64"),
    *("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp39-abi3-manylinux_2_5_x86_64"),
    *("cp312-cp312-macosx_11_0_arm64", "cp312-abi3-macosx_10_9_universal2", "py3-none-win_amd64"),
    *("cp39-cp39-manylinux2014_aarch64", "cp311-abi3-manylinux_2_99_x86_64"),
)
PYTHONS = (None, ">=3.8", ">=3.10", "<3.12", "!=3.11.*", ">=3.11.2")
SPECIFIERS = ("", ">=1.0", "<2", "==1.*", "~=1.0", "!=1.1", ">=1.1a1", "==1.1", "<=1.0.post1")
MARKERS = (
    "",
    '; python_version >= "3.10"',
    '; sys_platform == "win32"',
    '; os_name == "posix" and python_version < "3.99"',
    '; extra == "more"',
    '; platform_machine == "nothing" or implementation_name == "cpython"',
    '; platform_python_implementation == "PyPy"',
)


class Index:
    """`library` holds the same projects; `wanted` are the specifiers to ask for them with."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._projects: dict[str, list[dict[str, Any]]] = {}
        self._metadata: dict[str, str] = {}
        self.library = MemoryLibrary()
        self.wanted: dict[str, str] = {}
        self.leaves = [f"leaf-{at:02}" for at in range(LEAVES)]
        for name in self.leaves:
            self._add(name, {"1.0": [self._file(name, "1.0", "py3-none-any")]})
        for at in range(PROJECTS):
            self._make(f"proj-{at:02}")

    def routes(self, packages: list[str]) -> list[BaseRoute]:
        """The index; `packages` gets the name of each package file that somebody downloads."""

        async def project(request: Request) -> Response:
            name = request.path_params["name"]
            base = str(request.base_url)
            files = [{**each, "url": f"{base}files/{each['filename']}"} for each in self._of(name)]
            page = {"meta": {"api-version": "1.1"}, "name": name, "files": files, "versions": []}
            return JSONResponse(page, media_type=JSON)

        async def file(request: Request) -> Response:
            filename = request.path_params["filename"]
            if filename not in self._metadata:
                packages.append(filename)
                return PlainTextResponse("no packages here", 404)
            return PlainTextResponse(self._metadata[filename])

        return [Route("/simple/{name}/", project), Route("/files/{filename}", file)]

    def _of(self, name: str) -> list[dict[str, Any]]:
        return sorted(self._projects.get(name, []), key=lambda each: str(each["filename"]))

    def _make(self, name: str) -> None:
        draw = self._random
        releases: dict[str, list[dict[str, Any]]] = {}
        for version in draw.sample(VERSIONS, draw.randint(2, 6)):
            tags = draw.sample(TAGS, draw.randint(1, 5))
            files = [self._file(name, version, each) for each in tags]
            if draw.random() < 0.6:
                files.append(self._file(name, version, None))
            if draw.random() < 0.2:
                for each in files:
                    each["yanked"] = True
            releases[version] = files
        self._add(name, releases)
        self.wanted[name] = draw.choice(SPECIFIERS)

    def _file(self, name: str, version: str, tags: str | None) -> dict[str, Any]:
        stem = f"{name.replace('-', '_')}-{version}"
        return {
            "filename": f"{stem}.tar.gz" if tags is None else f"{stem}-{tags}.whl",
            "requires_python": self._random.choice(PYTHONS) if name.startswith("proj") else None,
            "yanked": False,
        }

    def _add(self, name: str, releases: Mapping[str, list[dict[str, Any]]]) -> None:
        order = sorted(releases, key=Version)
        good = [each for each in order if not releases[each][0]["yanked"]]
        finals = [each for each in good if not Version(each).is_prerelease]
        latest = (finals or good or order)[-1]
        needs = [
            f"{leaf}{self._random.choice(MARKERS)}"
            for leaf in self._random.sample(self.leaves, 3)
            if name.startswith("proj")
        ]
        for version, files in releases.items():
            lines = [f"Requires-Dist: {each}" for each in needs if version == latest]
            head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
            text = "\n".join([*head, *lines, "Provides-Extra: more", ""])
            for file in files:
                self._publish(name, file, text)
        info = {"name": name, "version": latest, "requires_dist": needs, "summary": None}
        self.library.put(
            {"info": info, "last_serial": 1, "vulnerabilities": [{"id": f"V-{name}"}]},
            {version: releases[version] for version in order},
        )

    def _publish(self, name: str, file: dict[str, Any], metadata: str) -> None:
        sha256 = hashlib.sha256(metadata.encode()).hexdigest()
        file["core-metadata"] = {"sha256": sha256}
        file["url"] = f"https://files.example.org/{file['filename']}"
        file["digests"] = {"sha256": "0" * 64}
        self._metadata[f"{file['filename']}.metadata"] = metadata
        self._projects.setdefault(name, []).append(
            {
                "filename": file["filename"],
                "hashes": file["digests"],
                "requires-python": file["requires_python"],
                "yanked": file["yanked"],
                "core-metadata": file["core-metadata"],
            }
        )

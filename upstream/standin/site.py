"""What the index answers when nothing is wrong: documents, version documents, files."""

from __future__ import annotations

from urllib.parse import quote

from upstream.standin.descriptions import metadata_of
from upstream.standin.documents import dumped, point_at
from upstream.standin.files import file_name
from upstream.standin.http_types import (
    CACHE,
    GZIP_FROM_BYTES,
    JSON,
    VARY,
    Answer,
    Headers,
    Request,
    not_found,
    text,
)
from upstream.standin.packages import INSTALLABLE_NAMES, wheel_bytes
from upstream.standin.pages import Pages
from upstream.standin.rpc import Rpc
from upstream.standin.settings import StandinSettings
from upstream.standin.store import compressed, etag_of
from upstream.standin.versions import parsed
from upstream.standin.vocabulary import normalized
from upstream.standin.world import Edition, World

_MOVED = 301
_REFUSED = 400
_NOT_ALLOWED = 405


class Site:
    """Answers requests from the world as it is, or as it was at a moment."""

    def __init__(self, world: World, settings: StandinSettings) -> None:
        self.world = world
        self.pages = Pages(world, settings.index_lag_seconds)
        self.rpc = Rpc(world, settings.map_lag_seconds)

    def answer(self, request: Request, moment: float | None = None) -> Answer:
        """The right answer; with `moment` (Unix seconds) the one that was right then."""
        if not request.path.isascii():
            return text(_REFUSED, "Non-ASCII URL")
        match request.route:
            case "json" | "version":
                return self._metadata(request, moment)
            case "simple":
                return self.pages.answer(request, moment)
            case "xmlrpc":
                if request.method != "POST":
                    return text(_NOT_ALLOWED, "XML-RPC takes POST only")
                return self.rpc.answer(request, moment)
            case "files":
                return self._file(request)
            case _:
                return text(404, "no such route")

    def edition(self, name: str, moment: float | None = None) -> Edition | None:
        """The state of a normalised name, now or then; None if it was never known."""
        project = self.world.projects.get(name)
        if project is None:
            return None
        return project.editions[-1] if moment is None else project.edition_at(moment)

    def _metadata(self, request: Request, moment: float | None) -> Answer:
        if request.project != request.name:
            tail = f"/{quote(request.version)}/json" if request.version else "/json"
            return Answer(_MOVED, [(b"location", f"/pypi/{request.name}{tail}".encode())])
        edition = self.edition(request.name, moment)
        if request.route == "version":
            return self._version(request, edition)
        return self.document(request, edition)

    def document(self, request: Request, edition: Edition | None) -> Answer:
        """The document of a state, 304 if the client has it, 404 if there is none."""
        if edition is None or not edition.served or edition.ref is None:
            return not_found()
        headers: Headers = [
            (b"content-type", JSON),
            (b"etag", edition.etag.encode()),
            (b"x-pypi-last-serial", b"%d" % edition.serial),
            CACHE,
            VARY,
        ]
        if request.etag == edition.etag:
            return Answer(304, headers[1:])
        if request.takes_gzip:
            headers.append((b"content-encoding", b"gzip"))
            return Answer(200, headers, self.world.store.gz(edition.ref))
        return Answer(200, headers, self.world.store.raw(edition.ref))

    def _version(self, request: Request, edition: Edition | None) -> Answer:
        document = None
        if edition is not None and edition.served:
            document = self.world.document(edition)
        if document is None or edition is None:
            return not_found()
        wanted, releases = request.version, document["releases"]
        if wanted not in releases:
            same = parsed(wanted)
            equal = [known for known in releases if same is not None and parsed(known) == same]
            if not equal:
                return not_found()
            wanted = equal[0]
        if wanted != document["info"]["version"] and "vulnerabilities" in document:
            document["vulnerabilities"] = []  # the list belongs to the version asked for
        point_at(document, wanted)
        del document["releases"]
        serial = (b"x-pypi-last-serial", b"%d" % edition.serial)
        return conditional(request, dumped(document), JSON, [serial, CACHE, VARY])

    def _file(self, request: Request) -> Answer:
        """`/files/<name>/<filename>`, with `.metadata` what PEP 658 promises of it."""
        filename = request.filename.removesuffix(".metadata")
        edition = self.edition(normalized(request.project))
        document = self.world.document(edition) if edition is not None else None
        if document is None:
            return not_found()
        for version, files in document["releases"].items():
            for file in files:
                if file["filename"] == filename:
                    if request.filename.endswith(".metadata"):
                        content = metadata_of(document, version, file)
                        kind = (b"content-type", b"application/octet-stream")
                        return Answer(200, [kind], content)
                    return self._content(request, version, file.get("requires_python"))
        return not_found()

    def _content(self, request: Request, version: str, requires_python: str | None) -> Answer:
        name = normalized(request.project)
        pure = file_name(name, version, 1).filename
        if name not in INSTALLABLE_NAMES or request.filename != pure:
            return text(404, "this file is made up: only its metadata exists")
        content = wheel_bytes(name, version, requires_python)
        return Answer(200, [(b"content-type", b"application/octet-stream")], content)


def conditional(request: Request, raw: bytes, kind: bytes, extra: Headers) -> Answer:
    """An answer with ETag: 304 if the client has it, gzip if it takes that."""
    etag = etag_of(raw)
    headers: Headers = [(b"content-type", kind), (b"etag", etag.encode()), *extra]
    if request.etag == etag:
        return Answer(304, headers[1:])
    if request.takes_gzip and len(raw) >= GZIP_FROM_BYTES:
        return Answer(200, [*headers, (b"content-encoding", b"gzip")], compressed(raw))
    return Answer(200, headers, raw)

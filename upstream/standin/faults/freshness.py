"""Answers that were right once, or are another project's."""

from __future__ import annotations

import orjson

from upstream.standin.documents import dumped
from upstream.standin.faults.registry import DOCUMENTS, Hit, fault_kind
from upstream.standin.http_types import NOT_FOUND_STATUS, Answer, Request, not_found
from upstream.standin.site import conditional
from upstream.standin.world import Edition


def _earlier(hit: Hit, moment: float) -> Answer | None:
    """The answer of `moment`, if the project has changed since."""
    if hit.edition(moment) is hit.edition():
        return None
    return hit.site.answer(hit.request, moment)


@fault_kind("stale", DOCUMENTS, sticky=True, lag_seconds=20.0)
def stale(hit: Hit) -> Answer | None:
    """Bodies are `lag_seconds` old (404 for what was not there then)."""
    return _earlier(hit, hit.site.world.clock() - hit.param("lag_seconds"))


@fault_kind("stuck", DOCUMENTS, sticky=True)
def stuck(hit: Hit) -> Answer | None:
    """Bodies stay as they were when the fault was switched on."""
    return _earlier(hit, hit.fault.since)


@fault_kind("soft-purge", DOCUMENTS)
def soft_purge(hit: Hit) -> Answer | None:
    """The first GET after a change gets the old body, or 304 to the old ETag; the next the new."""
    project = hit.site.world.project(hit.request.name)
    if project is None or project.edition.since < hit.fault.since:
        return None
    shown: Edition | None = hit.fault.memory.get(f"{hit.request.route}:{project.name}")
    hit.fault.memory[f"{hit.request.route}:{project.name}"] = project.edition
    if shown is project.edition:
        return None
    if shown is None:
        return hit.site.answer(hit.request, hit.fault.since)
    return hit.site.answer(hit.request, shown.since)


@fault_kind("serial-back", DOCUMENTS)
def serial_back(hit: Hit) -> Answer | None:
    """`last_serial` is lower than it was: an earlier body, or the same one with a lower serial."""
    project = hit.site.world.project(hit.request.name)
    if project is None:
        return None
    for edition in reversed(project.editions):
        if edition.served and edition.serial < project.edition.serial:
            return hit.site.answer(hit.request, edition.since)
    answer = hit.full(gzip=False)
    if answer is None:
        return None
    document = orjson.loads(answer.body)
    serial = project.edition.serial - 1 - project.edition.serial % 9000
    if "last_serial" in document:
        document["last_serial"] = serial
    lower = (b"x-pypi-last-serial", b"%d" % serial)
    return conditional(hit.request, dumped(document), b"application/json", [lower])


@fault_kind("header-serial", DOCUMENTS, by=7)
def header_serial(hit: Hit) -> Answer | None:
    """`X-PyPI-Last-Serial` is `by` above the body's `last_serial`."""
    answer = hit.full()
    if answer is not None:
        serial = int(answer.header(b"x-pypi-last-serial") or b"0")
        answer.replace_header(b"x-pypi-last-serial", b"%d" % (serial + hit.param("by")))
    return answer


@fault_kind("other-shape", DOCUMENTS)
def other_shape(hit: Hit) -> Answer | None:
    """Equal serial, different body: a new field, seen in some answers only."""
    answer = hit.full(gzip=False)
    if answer is None:
        return None
    document = orjson.loads(answer.body)
    document["info"]["rolled_out_field"] = None
    serial = (b"x-pypi-last-serial", answer.header(b"x-pypi-last-serial") or b"0")
    return conditional(hit.request, dumped(document), b"application/json", [serial])


@fault_kind("spurious-404", (*DOCUMENTS, "simple", "files"))
def spurious_404(hit: Hit) -> Answer | None:
    """404 although the document is there."""
    return not_found() if hit.normal().status != NOT_FOUND_STATUS else None


@fault_kind("cached-404", DOCUMENTS, ttl_seconds=60.0, of_truth=True)
def cached_404(hit: Hit) -> Answer | None:
    """A 404 is kept for `ttl_seconds`: true ones always (`of_truth`), spurious ones by share."""
    key, now = hit.request.path, hit.site.world.clock()
    if hit.fault.memory.get(key, 0.0) > now:
        return not_found()
    absent = hit.normal().status == NOT_FOUND_STATUS
    if absent or not hit.param("of_truth"):
        hit.fault.memory[key] = now + hit.param("ttl_seconds")
        return not_found()
    return None


@fault_kind("foreign-body", DOCUMENTS)
def foreign_body(hit: Hit) -> Answer | None:
    """Another project's document, status 200."""
    world = hit.site.world
    for _ in range(100):
        name = hit.fault.random.choice(world.names)
        edition = world.projects[name].edition
        if name != hit.request.name and edition.served:
            plain = {key: hit.request.headers[key] for key in _KEPT & hit.request.headers.keys()}
            other = Request("json", "GET", f"/pypi/{name}/json", plain, {}, name, name)
            return hit.site.document(other, edition)
    return None


_KEPT = {b"accept-encoding"}  # the ETag of one project says nothing about another


@fault_kind("index-old", ("simple",), lag_seconds=1800.0)
def index_old(hit: Hit) -> Answer | None:
    """`/simple/` and its pages are `lag_seconds` old."""
    return hit.site.answer(hit.request, hit.site.world.clock() - hit.param("lag_seconds"))


@fault_kind("index-lacks", ("simple",), names_share=0.1)
def index_lacks(hit: Hit) -> Answer | None:
    """`/simple/` leaves out a tenth of the names (a half-written page)."""
    answer = hit.full(gzip=False)
    if hit.request.project or answer is None or not answer.body.startswith(b"{"):
        return None
    page = orjson.loads(answer.body)
    keep = round(len(page["projects"]) * (1 - hit.param("names_share")))
    page["projects"] = page["projects"][:keep]
    kind = answer.header(b"content-type") or b""
    return conditional(hit.request, orjson.dumps(page), kind, [])

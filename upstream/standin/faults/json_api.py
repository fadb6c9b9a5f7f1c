"""A JSON API that goes, or loses what is announced as going; the index stays as it is."""

from __future__ import annotations

import orjson

from upstream.standin.documents import dumped
from upstream.standin.faults.registry import DOCUMENTS, Hit, fault_kind
from upstream.standin.http_types import JSON, Answer, text
from upstream.standin.site import conditional


@fault_kind("json-gone", DOCUMENTS, status=404)
def json_gone(hit: Hit) -> Answer | None:
    """The JSON API is not served any more: `status` 404, 410 or 501."""
    return text(int(hit.param("status")), "Not Found")


@fault_kind("no-releases", ("json",), as_null=False)
def no_releases(hit: Hit) -> Answer | None:
    """Documents without `releases`, or with null in its place (`as_null`)."""
    answer = hit.full(gzip=False)
    if answer is None:
        return None
    document = orjson.loads(answer.body)
    del document["releases"]
    if hit.param("as_null"):
        document["releases"] = None
    serial = (b"x-pypi-last-serial", answer.header(b"x-pypi-last-serial") or b"0")
    return conditional(hit.request, dumped(document), JSON, [serial])

"""Large project documents and index pages with too much of one thing, or just not too much."""

from __future__ import annotations

import functools
from collections.abc import Iterator

INFO = b'"name":"some-project","version":"1.0"'
# Beyond what is read, and a little below: 250 000 within three brackets, 60 000 releases.
MANY, BELOW, RELEASES = 1_000_000, 240_000, 59_000


@functools.cache
def keys(count: int, value: bytes = b"1") -> bytes:
    """So many, all different."""
    return b",".join(b'"%d":%b' % (number, value) for number in range(count))


def listed(count: int, value: bytes = b"{}") -> bytes:
    """A list of the same."""
    return b"[%b]" % b",".join([value] * count)


def document(releases: bytes = b"{}", info: bytes = b"", more: bytes = b"") -> bytes:
    """Of a known shape but for what is put in."""
    parts = (INFO, info, releases, more)
    return b'{"info":{%b%b},"releases":%b,"urls":[]%b}' % parts


def page(files: bytes, more: bytes = b"") -> bytes:
    """An index page."""
    head = b'"meta":{"api-version":"1.3","_last-serial":7},"name":"some-project"'
    return b'{%b,"versions":["1.0"],"files":%b%b}' % (head, files, more)


def documents() -> Iterator[tuple[str, bytes]]:
    """A name each, and a body of 0.5 to 20 MB."""
    for count in (MANY, BELOW, RELEASES):
        yield f"{count} releases", document(b"{%b}" % keys(count, b"[]"))
        yield f"{count} releases that are numbers", document(b"{%b}" % keys(count))
    for count in (MANY, BELOW):
        yield f"{count} unknown keys", document(more=b"," + keys(count))
        yield f"{count} unknown lists", document(more=b',"x":' + listed(count, b"[]"))
        yield f"{count} keys of info", document(info=b"," + keys(count))
        yield f"{count} urls", document(more=b',"urls":' + listed(count))
        yield f"{count} vulnerabilities", document(more=b',"vulnerabilities":' + listed(count))
        yield f"{count} times the same key", document(more=b',"a":1' * count)
        yield f"{count} files of a page", page(listed(count))
        yield f"{count} keys of a page", page(b"[]", b"," + keys(count))
        classifiers = listed(count, b'"abcdefg"')
        yield f"{count} classifiers", document(info=b',"classifiers":' + classifiers)
        yield f"{count} files", document(b'{"1.0":%b}' % listed(count))
        yield f"{count} old files", document(b'{"0.9":%b,"1.0":[]}' % listed(count))
        yield f"{count} keys of a file", document(b'{"1.0":[{%b}]}' % keys(count))
        yield f"{count} deep lists", document(info=b',"x":[%b]' % listed(count, b"[]"))
        alias = b',"vulnerabilities":[{"aliases":%b}]' % listed(count, b'"a"')
        yield f"{count} aliases", document(more=alias)
        yield f"{count} keys of a page's file", page(b"[{%b}]" % keys(count))
    emoji = "\U0001f600".encode()
    yield "a long description", document(info=b',"description":"%b%b"' % (b"a" * 20_000_000, emoji))
    yield "a long summary", document(info=b',"summary":"%b%b"' % (b"a" * 5_000_000, emoji))
    yield "a long key", document(info=b',"%b":1' % (b"a" * 10_000_000))
    yield "a long string that is open", document(more=b',"x":"%b' % (b"a" * 20_000_000))
    yield "nothing but escapes", document(more=b',"x":"%b"' % (b"\\\\" * 5_000_000))
    yield "nothing but quotes", document(more=b"," + b'"' * 5_000_000)

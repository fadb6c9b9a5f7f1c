"""XML-RPC (`POST /pypi`): the living methods, and the dead ones that say so."""

from __future__ import annotations

import math
import xmlrpc.client
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.xmlrpc import DefusedExpatParser

from upstream.standin.http_types import Answer, Request
from upstream.standin.vocabulary import normalized
from upstream.standin.world import World

XML = (b"content-type", b"text/xml; charset=UTF-8")
PARSE_ERROR, NO_METHOD, WRONG_ARGUMENTS, RATE_LIMITED = -32700, -32601, -32602, -32500
RATE_LIMIT_TEXT = (
    "HTTPTooManyRequests: The action could not be performed because there were too many requests "
    "by the client."
)
DEAD = frozenset(
    {
        "changed_packages",
        "changelog",
        "list_packages",
        "package_data",
        "package_releases",
        "package_urls",
        "release_data",
        "release_urls",
        "search",
        "top_packages",
        "updated_releases",
    }
)


class Rpc:
    """Calls methods on the world, as it is or as it was."""

    def __init__(self, world: World, map_lag_seconds: float) -> None:
        self._world = world
        self._lag = map_lag_seconds
        self._methods: dict[str, Callable[..., Answer]] = {
            "changelog_last_serial": self._last_serial,
            "changelog_since_serial": self._since_serial,
            "list_packages_with_serial": self._list_packages,
            "package_roles": self._roles,
            "user_packages": self._user,
            "browse": self._browse,
        }
        self._kept: tuple[object, bytes] = (None, b"")

    def answer(self, request: Request, moment: float | None = None) -> Answer:
        """The answer to one call; every error is a fault, as XML-RPC has it."""
        try:
            name, arguments = parse_call(request.body)
        except (ValueError, ExpatError, xmlrpc.client.Error, DefusedXmlException):
            return fault(PARSE_ERROR, "parse error; not well formed")
        if name in DEAD:
            return fault(-32500, f"RuntimeError: PyPI no longer supports the XMLRPC {name} method.")
        method = self._methods.get(name)
        if method is None:
            return fault(NO_METHOD, "server error; requested method not found")
        try:
            return method(moment, *arguments)
        except TypeError as error:
            return fault(WRONG_ARGUMENTS, f"server error; invalid method parameters: {error}")

    def _last_serial(self, moment: float | None) -> Answer:
        journal = self._world.journal
        serial = journal.last_serial if moment is None else journal.last_serial_at(moment)
        return value(serial)

    def _since_serial(self, moment: float | None, since: int) -> Answer:
        journal = self._world.journal
        until = None if moment is None else journal.last_serial_at(moment)
        return rows(journal.since(since, until=until))

    def _list_packages(self, moment: float | None) -> Answer:
        world = self._world
        if moment is None and self._lag > 0:
            moment = world.clock() - self._lag
        state: object = world.revision if moment is None else (world.revision, int(moment))
        if self._kept[0] != state:
            listed = world.listed_at(math.inf if moment is None else moment)
            members = "".join(
                f"<member>\n<name>{escape(edition.display_name)}</name>\n"
                f"<value><int>{edition.serial}</int></value>\n</member>\n"
                for edition in listed
            )
            self._kept = (state, response(f"<struct>\n{members}</struct>"))
        return Answer(200, [XML], self._kept[1])

    def _roles(self, moment: float | None, name: str) -> Answer:
        del moment
        project = self._world.project(normalized(name))
        return value([list(role) for role in project.roles] if project is not None else [])

    def _user(self, moment: float | None, user: str) -> Answer:
        del moment
        return value([list(pair) for pair in self._world.of_user(user)])

    def _browse(self, moment: float | None, classifiers: Sequence[str]) -> Answer:
        del moment
        return value([list(pair) for pair in self._world.with_classifiers(list(classifiers))])


def parse_call(body: bytes) -> tuple[str, tuple[Any, ...]]:
    """Method name and arguments.

    Raises ValueError, ExpatError, xmlrpc.client.Error, or what defusedxml raises for entities.
    """
    unmarshaller = xmlrpc.client.Unmarshaller()
    parser = DefusedExpatParser(unmarshaller)
    parser.feed(body)
    parser.close()
    arguments = unmarshaller.close()
    name = unmarshaller.getmethodname()
    if not name:
        message = "not a method call"
        raise ValueError(message)
    return name, tuple(arguments)


def value(result: Any) -> Answer:
    """An answer with one value."""
    text = xmlrpc.client.dumps((result,), methodresponse=True, allow_none=True)
    return Answer(200, [XML], text.encode())


def fault(code: int, message: str) -> Answer:
    """An XML-RPC fault (status 200, as the protocol wants)."""
    text = xmlrpc.client.dumps(xmlrpc.client.Fault(code, message), methodresponse=True)
    return Answer(200, [XML], text.encode())


def rows(journal_rows: Iterable[tuple[Any, ...]]) -> Answer:
    """An answer with journal rows.

    Written by hand: the library needs a second for 50 000, and nothing is answered meanwhile.
    """
    return Answer(200, [XML], response(array("".join(map(row_xml, journal_rows)))))


def array(values: str) -> str:
    """An array of values that are XML already."""
    return f"<array><data>\n{values}</data></array>"


def row_xml(row: tuple[Any, ...]) -> str:
    """One row as a value; `None` is `<nil/>`, whatever is no number is a string."""
    return f"<value>{array(''.join(map(_scalar, row)))}</value>\n"


def _scalar(item: object) -> str:
    if item is None:
        return "<value><nil/></value>\n"
    if isinstance(item, int):
        return f"<value><int>{item}</int></value>\n"
    return f"<value><string>{escape(str(item))}</string></value>\n"


def response(inner: str) -> bytes:
    """A method response around one value that is XML already."""
    return (
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n"
        f"<value>{inner}</value>\n</param>\n</params>\n</methodResponse>\n"
    ).encode()

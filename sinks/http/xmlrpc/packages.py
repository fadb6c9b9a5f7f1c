"""XML-RPC methods on many projects: lists, a user's, those of classifiers, the search.

Long answers leave in pieces, a page of the library at a time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from sinks.http.library import PAGE_MAX, Library, Listed
from sinks.http.xmlrpc.journal import held
from sinks.http.xmlrpc.parameters import counted, text, texts, wrong
from sinks.http.xmlrpc.wire import (
    APPLICATION_ERROR,
    LONG_MAX,
    Refusal,
    Streamed,
    Value,
    around,
    item,
    member,
    streamed,
)

FOUND_MAX = 100  # of one search, as PyPI's
CANDIDATES_MAX = 1_000  # documents a search reads for fields that no index has
USER_PROJECTS_MAX = 20_000  # the user with most has some thousand
LOOKUPS_MAX = 20  # of one search, some milliseconds each
WORDS_MAX = 8  # of one text; further ones do not count
FIELDS = (
    *("name", "version", "author", "author_email", "maintainer", "maintainer_email", "home_page"),
    *("license", "summary", "keywords", "platform", "download_url"),
)
INDEXED = ("name", "summary")
_NOT_HELD = "description"
_SEPARATORS = re.compile(r"[-_.]+")  # as in names (PEP 503): they part words

Page = Callable[[str], Sequence[Listed]]
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class PackageMethods:
    """The methods; each takes its parameters as they came."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def list_packages(self, given: Sequence[object]) -> Streamed:
        """[name, ...] of all projects with a release, as they spell themselves."""
        counted(given, 0, 0)
        self._complete()
        return streamed(self._pages(self._library.projects, lambda line: item(line.display_name)))

    async def list_packages_with_serial(self, given: Sequence[object]) -> Streamed:
        """{name: serial, ...} of the same projects."""
        counted(given, 0, 0)
        self._complete()

        def line_of(line: Listed) -> str:
            return member(line.display_name, min(line.serial, LONG_MAX))

        before, after = around("<struct>\n", "</struct>")
        return Streamed(before, self._pages(self._library.projects, line_of), after)

    async def browse(self, given: Sequence[object]) -> Streamed:
        """[[name, version], ...] of latest releases with all of the classifiers."""
        classifiers = texts(counted(given, 1, 1)[0], "classifiers")
        held(self._library)

        def page(after: str) -> Sequence[Listed]:
            return self._library.classified(classifiers, after, PAGE_MAX)

        pages = self._pages(page, lambda line: item([line.display_name, line.version]))
        return streamed(pages)

    async def user_packages(self, given: Sequence[object]) -> Value:
        """[[role, name], ...]: what a user owns, then what they maintain, by name."""
        user = text(counted(given, 1, 1)[0], "user")
        held(self._library)
        rows: list[tuple[str, str]] = []
        after = ""
        while page := self._library.projects_of(user, after, PAGE_MAX):
            rows += [(row.role, row.display_name) for row in page]
            after = page[-1].name
            if len(rows) >= USER_PROJECTS_MAX:
                raise Refusal(APPLICATION_ERROR, f"ValueError: more than {USER_PROJECTS_MAX}")
            await asyncio.sleep(0)
        rows.sort(key=lambda row: row[1])
        rows.sort(key=lambda row: row[0], reverse=True)
        return [list(row) for row in rows]

    async def search(self, given: Sequence[object]) -> Value:
        """[{name, summary, version}, ...]: at most FOUND_MAX, the best first.

        A field is found if it holds all words of its text, or of one of its texts; case does not
        matter. Name and summary have an index, the other fields are looked at in what that finds.
        """
        spec, operator = counted(given, 1, 2)
        fields, either = _fields(spec), _operator(operator) == "or"
        held(self._library)
        if not fields:
            return []
        unindexed = [name for name in fields if name not in INDEXED]
        if unindexed and (either or len(unindexed) == len(fields)):
            raise Refusal(
                APPLICATION_ERROR,
                f"RuntimeError: {unindexed[0]} has no index here: ask for it with name or summary, "
                "and the operator 'and'",
            )
        lines: dict[str, Listed] = {}
        for words in _lookups(fields, either=either):
            for line in self._library.search(words, CANDIDATES_MAX):
                lines.setdefault(line.name, line)
            await asyncio.sleep(0)
        found: list[Value] = []
        for line in lines.values():
            values: Mapping[str, Any] = {"name": line.display_name, "summary": line.summary}
            if unindexed:
                values = {**self._info(line), **values}
            hits = (_hit(values.get(name), wanted) for name, wanted in fields.items())
            if any(hits) if either else all(hits):
                found.append(
                    {
                        "name": line.display_name,
                        "summary": line.summary,
                        "version": line.version,
                        "_pypi_ordering": False,
                    }
                )
                if len(found) == FOUND_MAX:
                    break
        return found

    def _info(self, line: Listed) -> Mapping[str, Any]:
        document = self._library.document(line.name)
        try:
            info = {} if document is None else _decode(document.body).get("info")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return info if isinstance(info, dict) else {}

    def _complete(self) -> None:
        if held(self._library).watermark is None:
            raise Refusal(
                APPLICATION_ERROR,
                "RuntimeError: the list is not complete: a backfill is owed, or under way",
            )

    async def _pages(self, page: Page, xml: Callable[[Listed], str]) -> AsyncIterator[str]:
        after = ""
        while lines := page(after):
            yield "".join(map(xml, lines))
            after = lines[-1].name
            await asyncio.sleep(0)


def _fields(spec: object) -> dict[str, list[list[str]]]:
    """The words of each text that is asked for, by field; fields nobody knows do not count."""
    if not isinstance(spec, dict):
        raise wrong("spec is a struct of fields and texts")
    if spec.get(_NOT_HELD):
        raise Refusal(APPLICATION_ERROR, "RuntimeError: descriptions are not held here")
    found: dict[str, list[list[str]]] = {}
    for name in FIELDS:
        given = spec.get(name)
        if not given:
            continue
        wanted = texts(given if isinstance(given, list) else [given], name)
        split = (_SEPARATORS.sub(" ", each.lower()).split()[:WORDS_MAX] for each in wanted)
        found[name] = [words for words in split if words]
    return {name: wanted for name, wanted in found.items() if wanted}


def _operator(given: object) -> str:
    if given is None:
        return "and"
    if given not in ("and", "or"):
        raise wrong("operator is 'and' or 'or'")
    return str(given)


def _lookups(fields: Mapping[str, Sequence[list[str]]], *, either: bool) -> list[list[str]]:
    """What to ask the index for: all words at once where all must be there, else text by text."""
    asked = [fields[name] for name in INDEXED if name in fields]
    if not either and all(len(each) == 1 for each in asked):
        return [[word for each in asked for word in each[0]]]
    found = [words for each in asked for words in each]
    if len(found) > LOOKUPS_MAX:
        raise wrong(f"at most {LOOKUPS_MAX} texts for name and summary")
    return found


def _hit(value: object, wanted: Sequence[Sequence[str]]) -> bool:
    if not isinstance(value, str):
        return False
    folded = value.lower()
    return any(all(word in folded for word in words) for words in wanted)

"""Strict judgement: what dump and snapshot show of every name, held against what is true upstream.

Nothing is excused: a name that waits for another attempt is wrong all the same if what is published
is not the truth (`published.py` has the milder form, which leaves the named exceptions out).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import view_oracle
from tests.support.oracle import oracle_slim, oracle_trim
from tests.support.published import Dump, Truth, asking

Wrong = dict[str, str]
"""By name: what is wrong with it."""


class Judge:
    """Compares one truth with what is published; the expected values are made once."""

    def __init__(self, truth: Mapping[str, Truth]) -> None:
        self._served = {name: true for name, true in truth.items() if true.document is not None}
        self._trimmed: dict[str, dict[str, Any]] = {}
        self._slim: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, dict[str, Counter[view_oracle.Row]]] = {}
        for name, true in self._served.items():
            document = true.document or {}
            self._trimmed[name] = oracle_trim(document)
            self._slim[name] = oracle_slim(document, name, true.body_serial)
            rows = view_oracle.rows_of(document, name, true.body_serial)
            self._rows[name] = {view: Counter(map(_hashable, its)) for view, its in rows.items()}

    def dump(self, dump: Dump) -> Wrong:
        """Names whose lines in `packages` and `releases` are not the truth; {} = none."""
        wrong = dict.fromkeys(self._extra(dump.packages), "published, and not there upstream")
        wrong |= dict.fromkeys(self._extra(dump.releases), "releases published, and not there")
        for name in self._served:
            line, slim = dump.packages.get(name), dump.releases.get(name)
            if line is None or slim is None:
                wrong[name] = "missing in the dump"
            elif text := self._difference(name, line, slim):
                wrong[name] = text
        return {name: f"{text}; state {dump.states.get(name)}" for name, text in wrong.items()}

    def snapshot(self, path: Path) -> Wrong:
        """Names whose rows in any view are not the truth; {} = none."""
        wrong: Wrong = {}
        with asking(path) as ask:
            shown = {view: ask(sql) for view, sql in view_oracle.QUERIES.items()}
        for view, rows in shown.items():
            found: defaultdict[str, Counter[view_oracle.Row]] = defaultdict(Counter)
            for row in rows:
                found[row[0]][row] += 1
            for name in found.keys() | self._served.keys():
                due = self._rows[name][view] if name in self._rows else Counter()
                if found[name] != due:
                    lacking, too_many = list(due - found[name]), list(found[name] - due)
                    wrong[name] = f"{view}: {lacking[:1]} is not there, {too_many[:1]} is"
        return wrong

    def _extra(self, lines: Mapping[str, Any]) -> set[str]:
        return lines.keys() - self._served.keys()

    def _difference(self, name: str, line: dict[str, Any], slim: dict[str, Any]) -> str:
        true = self._served[name]
        if line["serial"] != true.body_serial:
            return f"serial {line['serial']} instead of {true.body_serial}"
        if line["document"] != self._trimmed[name]:
            keys = _different(line["document"], self._trimmed[name])
            return f"another document at serial {line['serial']}: {keys}"
        if slim["document"] != self._slim[name]:
            return "another slim form"
        return ""


def _hashable(row: view_oracle.Row) -> view_oracle.Row:
    return tuple(tuple(value) if isinstance(value, list) else value for value in row)


def _different(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Keys of the document and of its `info` whose values differ."""
    flat = [
        {**document, **{f"info.{key}": value for key, value in document.get("info", {}).items()}}
        for document in (left, right)
    ]
    none = object()
    keys = flat[0].keys() | flat[1].keys()
    return sorted(
        key for key in keys - {"info"} if flat[0].get(key, none) != flat[1].get(key, none)
    )

"""The dashboard and the alert rules speak of metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from processors.decide import UNANSWERED, Failure
from schemas.records import Status
from sinks.http.metrics import FAMILIES

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
NAMES = {family.name for family in FAMILIES}
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0][
    "rules"
]
BOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())


def expressions() -> dict[str, str]:
    """All that are asked of Prometheus, by where."""
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


EXPRESSIONS = expressions()


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_metric_that_is_asked_for_exists(where: str) -> None:
    """By its name, and with brackets that close."""
    expression = EXPRESSIONS[where]
    named = set(re.findall(r"\bpypistream_\w+", expression))

    assert named - NAMES == set()
    assert named or "up{" in expression
    for opened, closed in ("()", "{}", "[]"):
        assert expression.count(opened) == expression.count(closed)


def test_every_metric_is_on_the_dashboard_or_watched() -> None:
    """One that nobody looks at need not be there; the version and the clock are for people."""
    used = {name for text in EXPRESSIONS.values() for name in re.findall(r"\bpypistream_\w+", text)}

    assert NAMES - used == {"pypistream_info", "pypistream_process_start_time_seconds"}


def test_a_counter_is_asked_for_its_rate_and_a_gauge_is_not() -> None:
    """`rate` of what goes down, or the bare height of what only rises, says nothing."""
    rising = {family.name for family in FAMILIES if family.kind == "counter"}
    for where, text in EXPRESSIONS.items():
        rated = set(re.findall(r"(?:rate|increase)\((pypistream_\w+)", text))
        named = set(re.findall(r"\bpypistream_\w+", text))

        assert rated <= rising, where
        assert named & rising <= rated | {"pypistream_view_rebuilds_total"}, where


def test_labels_have_values_that_there_are() -> None:
    """Statuses and outcomes are named as the program names them."""
    outcomes = {"document", "unchanged", "missing", UNANSWERED, *(each.value for each in Failure)}
    statuses = {each.value for each in Status}
    for text in EXPRESSIONS.values():
        for name, values in re.findall(r'(outcome|status)[=!]~?"([^"]*)"', text):
            known = outcomes if name == "outcome" else statuses
            if "http_requests" not in text:
                assert set(values.split("|")) <= known


def test_a_rule_says_what_is_wrong_and_what_to_do() -> None:
    """In the shape that Prometheus reads, each by a name of its own."""
    names = [rule["alert"] for rule in RULES]

    assert len(set(names)) == len(names) > 10
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))
        assert rule["annotations"]["description"].endswith(".")


def test_panels_do_not_lie_upon_each_other() -> None:
    """Each has its place on a grid of 24 columns, and its own number."""
    taken = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert x < 24
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))
    numbers = [panel["id"] for panel in BOARD["panels"]]

    assert len(set(numbers)) == len(numbers)

"""Prometheus' text format 0.0.4, as much of it as counters and gauges need. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

TEXT = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


class Family(NamedTuple):
    """A metric. Names end in a unit; those of counters in `_total`."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str


def family(of: Family, samples: Iterable[tuple[Labels, float | None]]) -> str:
    """Its lines; a value that is not known (None) has none."""
    lines = [f"# HELP {of.name} {of.help}", f"# TYPE {of.name} {of.kind}"]
    for labels, value in samples:
        if value is not None:
            lines.append(f"{of.name}{_labels(labels)} {_number(value)}")
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))

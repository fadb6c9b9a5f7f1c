"""What `make bench-full` makes of its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import full_page
from benchmarks.full import GOALS, judged
from benchmarks.full_world import template


def result(**changed: float) -> dict[str, Any]:
    """Every figure just reached, but for what is changed."""
    made: dict[str, Any] = {"projects": 8_860, "log_mib": 1.0}
    made["about"] = dict.fromkeys(
        ("date", "commit", "cores", "cpu", "memory_gib", "python", "system", "load_before"), "x"
    )
    for path, (goal, _, _) in GOALS.items():
        *parents, name = path.split(".")
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = changed.get(name, goal)
    made["rebuild"] |= {"file_mib": 1.0, "seconds": 1.0, "cpu_seconds": 1.0}
    return made


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, []),
        ({"projects_per_second": 5_999}, ["rebuild.projects_per_second"]),
        ({"ratio": 1.51, "peak_mib": 1_025}, ["growth.ratio", "peak_mib"]),
        ({"dependents": 500}, []),  # of a hundredth of all projects
        ({"dependents": 499}, ["queries.dependents"]),
    ],
)
def test_a_figure_on_the_wrong_side_is_missed(changed: dict[str, float], missed: list[str]) -> None:
    found = judged(result(**changed))
    assert missed == [path for path, *_, reached in found if not reached]


def test_a_section_takes_the_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of as many projects; what else is on the page stays."""
    monkeypatch.setattr(full_page, "PAGE", tmp_path / "benchmarks.md")
    for projects, ratio in ((10, 1.0), (20, 1.1), (10, 1.6)):
        made = result(ratio=ratio) | {"projects": projects}
        full_page.write_page(made, list(judged(made)))
    text = full_page.PAGE.read_text()

    assert 1 == text.count("# Benchmarks\n")
    assert ["## SQL at 10 projects", "## SQL at 20 projects"] == [
        line for line in text.splitlines() if line.startswith("## ")
    ]
    ratios = [line for line in text.splitlines() if "growth.ratio" in line]
    assert ["1.6", "1.1"] == [line.split("|")[2].strip() for line in ratios]
    assert "missed" in ratios[0]


def test_a_document_gets_a_name_hashes_and_requirements_of_its_own() -> None:
    """Wherever they stand in it, and nothing else of it changes."""
    sha, blake = "a1" * 32, "b2" * 32
    path = f"{blake[:2]}/{blake[2:4]}/{blake[4:]}"
    text = (
        f'{{"name":"Foo.Bar","requires_dist":["x","y>=1"],"sha256":"{sha}","blake":"{blake}",'
        f'"url":"https://files.example.org/{path}/foo_bar-1.0.zip","summary":"not foo-bar"}}'
    )
    known: dict[bytes, int] = {}
    made = template(text.encode(), "Foo.Bar", known).of(b"new-one", ["c" * 64, "d" * 64], b"null")

    assert {sha.encode(): 0, blake.encode(): 1} == known
    assert made.decode() == (
        f'{{"name":"new-one","requires_dist":null,"sha256":"{"c" * 64}","blake":"{"d" * 64}",'
        f'"url":"https://files.example.org/dd/dd/{"d" * 60}/new_one-1.0.zip",'
        '"summary":"not foo-bar"}'
    )

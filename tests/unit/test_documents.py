"""The documents name things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.topics import Topic

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "*/README.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).parts[0].startswith(".")
)
RECORDS = sorted(path for path in (ROOT / "docs/adr").glob("*.md"))
A_USERS_OWN = {"pypistream.toml"}
ONE_PAGE_LINES = 60
ONE_SCREEN_LINES = 50
SECTIONS = ["Context", "Options", "Decision", "Consequences"]


def name(path: Path) -> str:
    """A document as the test's name shows it."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    """Each relative link is a file of the repository."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    broken = [target for target in targets if not (document.parent / target).exists()]

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_modules_named_are_there(document: Path) -> None:
    """A path in backticks, a star in it or not, is there: from the root, or beside the document."""
    text = document.read_text(encoding="utf-8")
    paths = set(re.findall(r"`([a-z_0-9*/.-]+\.(?:py|toml|sh))`", text))
    lost = [
        path
        for path in sorted(paths)
        if not (any(ROOT.glob(path)) or any(document.parent.glob(path)))
    ]

    assert set(lost) - A_USERS_OWN == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_make_targets_named_are_there(document: Path) -> None:
    """What the text says to type after `make` is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^\$ )make ([a-z -]+)", text, re.MULTILINE)
    unknown = {word for words in named for word in words.split()} - targets

    assert unknown == set()


def test_the_architecture_fits_a_page_and_names_every_topic() -> None:
    """It is the first thing to read, so it stays short."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")

    assert len(text.splitlines()) <= ONE_PAGE_LINES
    assert [topic.value for topic in Topic if f"pypi.{topic.value}" not in text] == []


@pytest.mark.parametrize("document", sorted(ROOT.glob("*/README.md")), ids=name)
def test_a_folders_readme_fits_a_screen(document: Path) -> None:
    """Topics in, topics out, how to run it alone."""
    assert len(document.read_text(encoding="utf-8").splitlines()) <= ONE_SCREEN_LINES


@pytest.mark.parametrize("record", RECORDS, ids=name)
def test_decisions_have_their_parts(record: Path) -> None:
    """A decision says what lost, and fits a page; its title has the file's number."""
    text = record.read_text(encoding="utf-8")

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert text.startswith(f"# {record.name[:3]}: ")
    assert re.search(r"^Status: (proposed|accepted|replaced by \d{3})", text, re.MULTILINE)
    assert len(text.splitlines()) <= ONE_PAGE_LINES


def test_decisions_are_numbered() -> None:
    """Without a gap, from the template's 000 on."""
    assert [int(path.name[:3]) for path in RECORDS] == list(range(len(RECORDS)))

"""The page of limits is that of the code, and each limit says why it is what it is."""

from __future__ import annotations

from scripts import limits_page
from scripts.limits_page import HOSTILE, PAGE, ROOT, limits

REASON_CHARACTERS_MIN = 5
FIRST_PART = "## Everything else"


def test_the_page_about_limits_is_up_to_date() -> None:
    """What strangers send is bounded as it says; no other line of it is out of date, either."""
    written, made = PAGE.read_text("utf-8"), limits_page.page()

    assert written.partition(FIRST_PART)[0] == made.partition(FIRST_PART)[0], "make schemas"
    assert set(written.splitlines()) <= set(made.splitlines()), "make schemas"


def test_every_limit_has_its_reason_beside_it() -> None:
    """Behind the constant, or above it."""
    assert len(limits()) > 250
    assert not [each for each in limits() if len(each.reason) < REASON_CHARACTERS_MIN]


def test_what_strangers_send_is_bounded_where_the_page_says() -> None:
    """Each of those modules is there, and has a limit at least."""
    bounded = {each.file for each in limits()}

    assert [file for file in HOSTILE if not (ROOT / file).is_file()] == []
    assert bounded >= HOSTILE.keys()

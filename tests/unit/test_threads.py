"""How long threads keep the event loop waiting."""

from __future__ import annotations

import sys

import pytest

from pypistream.threads import SWITCH_SECONDS, loop_comes_first


def test_threads_make_way_sooner_than_usual() -> None:
    """For this process; what it was before is set again by the test."""
    before = sys.getswitchinterval()
    try:
        loop_comes_first()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert before > SWITCH_SECONDS
    finally:
        sys.setswitchinterval(before)

"""How long a thread may keep the others waiting is set for a while, whatever ends it."""

from __future__ import annotations

import contextlib
import sys

import pytest

from pypistream.threads import giving_way


def test_it_is_as_before_when_the_block_is_left() -> None:
    """By an error, too, and one within another."""
    before = sys.getswitchinterval()

    with contextlib.suppress(KeyError), giving_way(0.002):
        with giving_way(0.0005):
            assert sys.getswitchinterval() == pytest.approx(0.0005)
        assert sys.getswitchinterval() == pytest.approx(0.002)
        raise KeyError
    assert sys.getswitchinterval() == before

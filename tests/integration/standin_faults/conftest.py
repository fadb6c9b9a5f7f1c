"""One stand-in for all checks of a file, healed before and after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.standin import Running, standin


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with standin(projects=120, by_hand=True) as running:
        yield running


@pytest.fixture
def site(shared: Running) -> Iterator[Running]:
    shared.heal()
    yield shared
    shared.heal()

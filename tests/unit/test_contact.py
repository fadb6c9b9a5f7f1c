"""Whom PyPI can reach: checked before anything is made and before any request."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypistream.settings import Settings, resolve
from pypistream.wiring import upstream_url
from schemas.errors import UsageError
from upstream.settings import default_upstream


@pytest.mark.parametrize("contact", ["me@my-host.net", "https://my-host.net/bot", "a+b@c.d.io"])
def test_a_mail_address_or_a_url_is_a_contact(contact: str) -> None:
    assert contact == resolve({"contact": contact}).contact


@pytest.mark.parametrize("contact", ["me", "me@localhost", "@", "a b@c.de", "ftp://x.y", "http://"])
def test_what_reaches_nobody_is_refused_by_name(contact: str) -> None:
    with pytest.raises(UsageError, match="neither a mail address nor a URL"):
        resolve({"contact": contact})


@pytest.mark.parametrize("contact", ["", "you@example.org", "https://bots.example.com"])
def test_pypi_itself_is_not_asked_under_an_example_or_no_contact(contact: str) -> None:
    with pytest.raises(UsageError, match="PyPI wants"):
        upstream_url(Settings(contact=contact))


@pytest.mark.parametrize("end", ["", "/", ":443/", ".:443"])
def test_pypi_spelled_out_is_still_pypi(end: str) -> None:
    spelled = Settings(upstream=default_upstream() + end)

    with pytest.raises(UsageError, match="PyPI wants"):
        upstream_url(spelled)


def test_any_other_upstream_may_be_asked_without_one(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9"

    assert url == upstream_url(Settings(data=tmp_path, upstream=url))

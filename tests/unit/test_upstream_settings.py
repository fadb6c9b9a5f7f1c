"""What the client is told."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from distlib.index import DEFAULT_INDEX

from schemas.errors import UsageError
from upstream.settings import DOCUMENT_BYTES_MAX, MIB, ClientSettings, default_upstream


def test_the_default_upstream_is_the_index_that_distlib_knows() -> None:
    """Scheme and host, nothing else."""
    assert urlsplit(default_upstream())[:3] == (*urlsplit(DEFAULT_INDEX)[:2], "")


def test_the_user_agent_names_program_and_contact() -> None:
    """Without a contact the program alone."""
    base = "http://127.0.0.1:1"

    assert ClientSettings(base, "me@example.org").user_agent.endswith(" (+me@example.org)")
    assert ClientSettings(base).user_agent.partition("/")[0] == "pypistream"
    assert " " not in ClientSettings(base).user_agent


def test_documents_up_to_64_mib_are_not_refused() -> None:
    """The promise of the documentation."""
    assert DOCUMENT_BYTES_MAX == 64 * MIB


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "ftp://files.example",
        "file:///etc/hostname",
        "http://",
        "http://files.example:port",
        "http://files.example:99999",
        "http://[::1",
        "http://me:secret@files.example",
        "http://files.example/?a=b",
        "http://files.example/#a",
        "http://files.example/a b",
        "http://files.example/\r\nX: y",
        "http://füles.example",
    ],
)
def test_an_upstream_that_cannot_work_is_refused(url: str) -> None:
    """Before the first request, with the way to write it."""
    with pytest.raises(UsageError) as caught:
        ClientSettings(url)

    assert "--upstream" in caught.value.hint


@pytest.mark.parametrize("contact", ["me\r\nX: y", "(me)", "é@example.org", "a b", "x" * 201])
def test_a_contact_that_fits_in_no_header_is_refused(contact: str) -> None:
    """It would break every request."""
    with pytest.raises(UsageError, match="contact"):
        ClientSettings("http://127.0.0.1:1", contact)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="rate"):
        ClientSettings("http://127.0.0.1:1", rate=rate)


def test_at_least_one_request_is_allowed() -> None:
    with pytest.raises(UsageError, match="in-flight"):
        ClientSettings("http://127.0.0.1:1", in_flight=0)

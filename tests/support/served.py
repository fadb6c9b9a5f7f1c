"""A `pypistream serve` as a process: where it listens, and whether it answers."""

from __future__ import annotations

import socket

import httpx


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


READY = ("/v1/changes?limit=1", "/healthz")  # it has read the log's head, and its projects


def answers(url: str) -> bool:
    """Whether it has all that it answers from."""
    try:
        return all(httpx.get(url + path, timeout=30).status_code == 200 for path in READY)
    except httpx.TransportError:
        return False

"""A `pypistream serve` as a process: where it listens, and whether it answers."""

from __future__ import annotations

import socket

import httpx


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str, path: str = "/v1/changes?limit=1") -> bool:
    """Whether it has read the log's head; by "/healthz", its projects."""
    try:
        return httpx.get(url + path, timeout=30).status_code == 200
    except httpx.TransportError:
        return False

"""Stores a process's figures in the data directory, where `/metrics` reads them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from pypistream.restarts import supervised
from pypistream.run.processing import Processing
from sinks.http.figures import Figures, write_figures

NOTE_SECONDS = 5.0  # a scrape comes every 15 s or so

log_ = structlog.get_logger("figures")


async def noted(role: str, folder: Path, processing: Processing) -> None:
    """Store the figures while the block runs."""
    await supervised("figures", lambda: noting(role, folder, processing))


async def noting(
    role: str, folder: Path, processing: Processing, *, every_seconds: float = NOTE_SECONDS
) -> None:
    """Write the figures until cancelled.

    An error of the disk is reported once, and the write retried.
    """
    started, said = time.time(), False
    while True:
        try:
            write_figures(folder, figures_of(role, started, time.time(), processing))
            said = False
        except OSError as error:
            if not said:
                log_.warning("figures for /metrics are not kept", error=str(error))
            said = True
        await asyncio.sleep(every_seconds)


def figures_of(role: str, started: float, now: float, processing: Processing) -> Figures:
    """The figures as of now."""
    sessions = [worker.session for worker in processing.workers if worker.session]
    return Figures(
        role,
        started,
        now,
        fetches=dict(processing.means.outcomes),
        queued=sum(session.agenda.queued for session in sessions),
        in_flight=processing.means.slots.used,
        lags={partition: lag for partition, lag in processing.lags.items() if lag is not None},
    )

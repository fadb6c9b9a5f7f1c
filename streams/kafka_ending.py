"""Stops aiokafka's clients, even if their brokers no longer answer.

`stop` finishes its work: it sends what is pending and leaves its group. Without answers that takes
as long as requests may, or for ever; and a client whose `stop` is cancelled goes on in the
background: it asks for metadata twice a minute and, once it can, writes what everybody has given
up. So the requests it waits for are ended first, and then `stop` completes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.errors import KafkaConnectionError

STOP_SECONDS_MAX = 4.0  # `stop` waits for brokers that may be gone
CUT_SECONDS_MAX = 0.5  # twice, for the rest, when nothing is left to wait for


async def stopped(client: Any, seconds: float | None = None) -> None:
    """Stop a consumer, producer or admin client; cut it off after `seconds`. Never raises."""
    stop = client.stop if hasattr(client, "stop") else client.close
    stopping = asyncio.ensure_future(stop())
    limit = STOP_SECONDS_MAX if seconds is None else seconds
    done, _ = await asyncio.wait([stopping], timeout=limit)
    if not done:
        _cut_off(client)
        await asyncio.wait([stopping], timeout=CUT_SECONDS_MAX)
        stopping.cancel()  # if it has reconnected, and waits again
        _cut_off(client)
        closing = asyncio.ensure_future(_connections(client).close())
        done, _ = await asyncio.wait([stopping, closing], timeout=CUT_SECONDS_MAX)
    for each in done:
        if not each.cancelled():
            each.exception()  # retrieved, so that nothing is printed
    _hush(client)


def _cut_off(client: Any) -> None:
    """End the requests that are under way, and the task that would send more."""
    error = KafkaConnectionError("given up: no answer")
    sending = getattr(getattr(client, "_sender", None), "sender_task", None)
    if sending is not None:
        sending.cancel()
        client._message_accumulator.fail_all(error)  # noqa: SLF001 (see above)
        _hush(client)
    for connection in list(_connections(client)._conns.values()):  # noqa: SLF001 (see above)
        connection.close(exc=error)


def _connections(client: Any) -> Any:
    """The client that each of them stands on."""
    return getattr(client, "client", None) or client._client  # noqa: SLF001 (see above)


def _hush(client: Any) -> None:
    """Retrieve the errors of futures that aiokafka failed and nobody awaits.

    Else asyncio prints each of them when it is collected ("Future exception was never retrieved").
    """
    accumulator = getattr(client, "_message_accumulator", None)
    futures = [getattr(getattr(client, "_txn_manager", None), "_transaction_waiter", None)]
    batches = [each for some in getattr(accumulator, "_batches", {}).values() for each in some]
    for batch in (*batches, *getattr(accumulator, "_pending_batches", ())):
        futures += [batch.future, batch._drain_waiter]  # noqa: SLF001 (see above)
    for future in futures:
        if future is not None and future.done() and not future.cancelled():
            future.exception()

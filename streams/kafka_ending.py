"""The end of aiokafka's clients: also of those whose brokers say nothing any more.

`stop` finishes what is under way: it sends what is pending, leaves a group. Where no answer comes
that takes as long as requests may, or for ever, and a client whose `stop` is cancelled half-way
goes on in the background: asks for metadata twice a minute, and writes, once it can, what everybody
has given up. So what it waits for is ended first, and `stop` then comes to its end.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.errors import KafkaConnectionError

STOP_SECONDS_MAX = 4.0  # `stop` waits for brokers that may be gone
CUT_SECONDS_MAX = 0.5  # twice, for the rest of it, when nothing is waited for any more


async def stopped(client: Any, seconds: float | None = None) -> None:
    """Stop a consumer, producer or admin client; cut it off after `seconds`. Never raises."""
    stop = client.stop if hasattr(client, "stop") else client.close
    stopping = asyncio.ensure_future(stop())
    limit = STOP_SECONDS_MAX if seconds is None else seconds
    done, _ = await asyncio.wait([stopping], timeout=limit)
    if not done:
        _cut_off(client)
        await asyncio.wait([stopping], timeout=CUT_SECONDS_MAX)
        stopping.cancel()  # if it has connected anew, and waits again
        _cut_off(client)
        closing = asyncio.ensure_future(_connections(client).close())
        done, _ = await asyncio.wait([stopping, closing], timeout=CUT_SECONDS_MAX)
    for each in done:
        if not each.cancelled():
            each.exception()  # looked at, so that nothing is printed: it is being thrown away
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
    """Look at the errors of futures that aiokafka failed and nobody waits for.

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

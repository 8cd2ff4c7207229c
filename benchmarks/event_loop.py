"""How long an asynchronous saver holds the event loop while it stores a large value."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from tests.savers import any_saver

from .pairs import Sample
from .places import Places, Setup


async def longest_hold(work: Coroutine[Any, Any, Any]) -> float:
    """Runs something and gives the longest time, in seconds, that another task had to wait for its turn meanwhile."""
    task = asyncio.ensure_future(work)
    longest, last = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await task
    return longest


@contextmanager
def aput_sample(places: Places, kind: str, setup: Setup, value: Any) -> Iterator[Sample]:
    """Gives a sample that stores a checkpoint with this value in it and measures the longest hold, not the time it took.

    Args:
        places: Where databases come from.
        kind: ``InMemory``, ``AsyncSqlite`` or ``AsyncPostgres``.
        setup: How to put the checkpointer together.
        value: The value of the one channel.
    """
    loop, stack, numbers = asyncio.new_event_loop(), AsyncExitStack(), itertools.count()

    async def put(saver: BaseCheckpointSaver) -> float:
        thread = f"thread-{next(numbers)}"
        version = saver.get_next_version(None, None)
        checkpoint = {**empty_checkpoint(), "channel_values": {"data": value}, "channel_versions": {"data": version}}
        config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        metadata = {"source": "loop", "step": 0, "parents": {}}
        held = await longest_hold(saver.aput(config, checkpoint, metadata, {"data": version}))
        await saver.adelete_thread(thread)
        return held

    async def open_saver(place: Any) -> BaseCheckpointSaver:
        return setup.wrap(await stack.enter_async_context(any_saver(kind, place, setup.serde())))

    with places.place(kind) as place:
        try:
            saver = loop.run_until_complete(open_saver(place))
            yield lambda: loop.run_until_complete(put(saver))
        finally:
            loop.run_until_complete(stack.aclose())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

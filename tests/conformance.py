"""Runs LangGraph's official conformance suite for checkpointers, also on savers that have no async methods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import validate
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer

_SYNC_OF = {
    "aput": "put",
    "aput_writes": "put_writes",
    "aget_tuple": "get_tuple",
    "adelete_thread": "delete_thread",
    "adelete_for_runs": "delete_for_runs",
    "acopy_thread": "copy_thread",
    "aprune": "prune",
}


class Counts(NamedTuple):
    """What the suite said: how many of its tests passed, of how many that it ran, and the text of each failure."""

    passed: int
    total: int
    failures: list[str]


async def conformance_counts(make_saver: Callable[[], AbstractAsyncContextManager[BaseCheckpointSaver]]) -> Counts:
    """Runs the whole suite.

    Args:
        make_saver: Gives an async context manager around a saver with async methods (see `async_view`). Called once for each
            capability; the savers may share a database.
    """

    async def factory() -> AsyncIterator[BaseCheckpointSaver]:
        async with make_saver() as saver:
            yield saver

    report = await validate(RegisteredCheckpointer(name="under test", factory=factory))
    results = report.results.values()
    passed, failed = sum(result.tests_passed for result in results), sum(result.tests_failed for result in results)
    return Counts(passed, passed + failed, [failure for result in results for failure in result.failures])


def async_view(saver: BaseCheckpointSaver) -> BaseCheckpointSaver:
    """Shows a saver with sync methods as one with async methods, each of which runs the sync one in a thread.

    The suite looks at the type to see what a saver can do, so the view has a type of its own with exactly the methods that
    the saver's type overrides.
    """

    def in_thread(name: str) -> Any:
        async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(getattr(saver, name), *args, **kwargs)

        return call

    async def alist(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for item in await asyncio.to_thread(lambda: list(saver.list(*args, **kwargs))):
            yield item

    methods = {
        name: in_thread(sync)
        for name, sync in _SYNC_OF.items()
        if getattr(type(saver), sync) is not getattr(BaseCheckpointSaver, sync)
    }
    view: type[BaseCheckpointSaver] = type(
        f"Async{type(saver).__name__}View", (BaseCheckpointSaver,), {**methods, "alist": alist}
    )
    return view(serde=saver.serde)

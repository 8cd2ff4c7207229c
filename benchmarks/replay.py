"""What a call of a saver costs: a recorded run, replayed in memory, without threads and without a graph around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from encrypted_serde import EncryptedSaver, Key

from .graphs import GRAPHS
from .pairs import Sample

PUT, PUT_WRITES = "put", "put_writes"
Call = tuple[str, tuple[Any, ...]]


class Recorder(InMemorySaver):
    """A saver that notes what it is asked to store."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def put(self, *arguments: Any) -> Any:
        self.calls.append((PUT, arguments))
        return super().put(*arguments)

    def put_writes(self, config: Any, writes: Sequence[Any], task_id: str, task_path: str = "") -> None:
        self.calls.append((PUT_WRITES, (config, [*writes], task_id, task_path)))
        super().put_writes(config, writes, task_id, task_path)


def extra_sample(graph: str, method: str) -> Sample:
    """Gives a sample of what `EncryptedSaver` adds to one call of a method, or to one write of `put_writes`."""
    recorder = Recorder()
    thread = GRAPHS[graph].runner(recorder)()
    savers = (EncryptedSaver(InMemorySaver(), Key.generate()), InMemorySaver())
    number = sum(len(arguments[1]) if name == PUT_WRITES else 1 for name, arguments in recorder.calls if name == method)

    def extra() -> float:
        # The shortest of a few: a difference of two long times would show little but their noise.
        ours, plain = (min(_seconds(saver, recorder.calls, method, thread) for _ in range(5)) for saver in savers)
        return (ours - plain) / number

    return extra


READ: dict[str, Callable[[BaseCheckpointSaver, RunnableConfig], object]] = {
    "get_tuple": lambda saver, config: saver.get_tuple(config),
    "list": lambda saver, config: [*saver.list(config)],
    "list(filter=)": lambda saver, config: [*saver.list(config, filter={"source": "loop"})],
}
"""How a recorded thread is read."""


def readers(graph: str, way: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Stores a recorded run and gives two calls that read it: with `EncryptedSaver`, and with the plain saver."""
    recorder = Recorder()
    thread = GRAPHS[graph].runner(recorder)()
    config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    savers = (EncryptedSaver(InMemorySaver(), Key.generate()), InMemorySaver())
    for saver in savers:
        _seconds(saver, recorder.calls, PUT, thread)
    ours, plain = (partial(READ[way], saver, config) for saver in savers)
    return ours, plain


def _seconds(saver: BaseCheckpointSaver, calls: list[Call], method: str, thread: str) -> float:
    saver.delete_thread(thread)
    methods: dict[str, Callable[..., Any]] = {PUT: saver.put, PUT_WRITES: saver.put_writes}
    total = 0.0
    for name, arguments in calls:
        call = methods[name]
        start = time.perf_counter()
        call(*arguments)
        if name == method:
            total += time.perf_counter() - start
    return total

"""``InMemorySaver``: nothing outlives the process, but a dump of its memory would show what it holds."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from tests.coverage.row import ASYNC, SYNC, Row, Servers, sync_open


class _Memory:
    """What the saver holds; ``where`` is one whose data every other shares."""

    server = ""

    def __init__(self) -> None:
        self.where = InMemorySaver()

    def dump(self) -> dict[Hashable, Any]:
        stored: dict[Hashable, Any] = {}
        for thread, namespaces in self.where.storage.items():
            for namespace, checkpoints in namespaces.items():
                for checkpoint_id, record in checkpoints.items():
                    stored["storage", thread, namespace, checkpoint_id] = record
        for checkpoint, writes in self.where.writes.items():
            for slot, record in writes.items():
                stored["writes", checkpoint, slot] = record
        return stored | {("blobs", *key): record for key, record in self.where.blobs.items()}

    def set(self, address: Any, record: Any) -> None:
        kind, *keys = address
        if kind == "storage":
            thread, namespace, last = keys
            holder: dict[Any, Any] = self.where.storage[thread][namespace]
        elif kind == "writes":
            checkpoint, last = keys
            holder = self.where.writes[checkpoint]
        else:
            holder, last = self.where.blobs, tuple(keys)
        holder.pop(last, None)
        if record is not None:
            holder[last] = record


@contextmanager
def _place(servers: Servers) -> Iterator[_Memory]:
    yield _Memory()


@sync_open
def _open(where: InMemorySaver, serde: Any) -> Iterator[InMemorySaver]:
    saver = InMemorySaver(serde=serde)
    saver.storage, saver.writes, saver.blobs = where.storage, where.writes, where.blobs
    yield saver


ROWS = (Row("InMemorySaver", "langgraph-checkpoint", _place, _open, (SYNC, ASYNC), other_process=False),)

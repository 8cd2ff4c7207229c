"""``MongoDBSaver`` on mongomock: no MongoDB server is to be had from a package index."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, Servers, Unavailable, sync_open

_COLLECTIONS = ("checkpoints", "checkpoint_writes")


class _Mongo:
    """Documents as dicts, addressed by collection and ``_id``; ``where`` is the client, which holds the data."""

    def __init__(self) -> None:
        try:
            import mongomock
            from mongomock.collection import BulkOperationBuilder
        except ImportError:
            raise Unavailable("pip install mongomock") from None
        _accept_sort(BulkOperationBuilder)
        self.where, self.server = mongomock.MongoClient(), f"mongomock {version('mongomock')}"

    def dump(self) -> dict[Hashable, Any]:
        database = self.where["checkpointing_db"]
        return {(name, document["_id"]): document for name in _COLLECTIONS for document in database[name].find()}

    def set(self, address: Any, record: Any) -> None:
        name, key = address
        collection = self.where["checkpointing_db"][name]
        collection.delete_one({"_id": key})
        if record is not None:
            collection.insert_one(record)


def _accept_sort(builder: Any) -> None:
    """Has ``sort`` ignored, which pymongo 4.11 hands to bulk updates and mongomock 4.3 does not know; the saver sets none."""
    for name in ("add_update", "add_replace"):
        method = getattr(builder, name)
        if getattr(method, "accepts_sort", False):
            continue

        def add(self: Any, *args: Any, _method: Any = method, sort: Any = None, **options: Any) -> Any:
            return _method(self, *args, **options)

        add.accepts_sort = True  # type: ignore[attr-defined]
        setattr(builder, name, add)


@contextmanager
def _place(servers: Servers) -> Iterator[_Mongo]:
    yield _Mongo()


@sync_open
def _open(where: Any, serde: Any) -> Iterator[Any]:
    from langgraph.checkpoint.mongodb import MongoDBSaver

    yield MongoDBSaver(where, serde=serde)


ROWS = (Row("MongoDBSaver", "langgraph-checkpoint-mongodb", _place, _open, (SYNC, ASYNC), other_process=False),)

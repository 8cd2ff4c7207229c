"""The LMDB savers, on a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Row, Servers, Unavailable, sync_open
from tests.coverage.servers.process import directory

_PACKAGE = "langgraph-checkpoint-lmdb"
_TABLES = (b"checkpoints", b"writes")
_opened: dict[str, Any] = {}  # LMDB allows one environment per file and process


def _environment(path: str) -> Any:
    try:
        import lmdb
    except ImportError:
        raise Unavailable("pip install lmdb") from None
    if path not in _opened:
        _opened[path] = lmdb.open(path, max_dbs=4, map_size=1 << 28, sync=False)
    return _opened[path]


class _Lmdb:
    """Values as bytes, addressed by table and key."""

    def __init__(self, path: str) -> None:
        import lmdb

        self.where, self.server = path, "LMDB " + ".".join(map(str, lmdb.version()))
        self._environment = _environment(path)
        self._tables = {name: self._environment.open_db(name) for name in _TABLES}

    def dump(self) -> dict[Hashable, Any]:
        with self._environment.begin() as transaction:
            return {
                (name, bytes(key)): bytes(value)
                for name, table in self._tables.items()
                for key, value in transaction.cursor(db=table)
            }

    def set(self, address: Any, record: Any) -> None:
        name, key = address
        with self._environment.begin(write=True) as transaction:
            if record is None:
                transaction.delete(key, db=self._tables[name])
            else:
                transaction.put(key, record, db=self._tables[name])


@contextmanager
def _place(servers: Servers) -> Iterator[_Lmdb]:
    with directory() as base:
        path = str(base / "data.lmdb")
        _environment(path)
        yield _Lmdb(path)
        _opened.pop(path).close()


@sync_open
def _open(where: str, serde: Any) -> Iterator[Any]:
    from langgraph_checkpoint_lmdb import LMDBSaver

    yield LMDBSaver(_environment(where), serde=serde)


@asynccontextmanager
async def _aopen(where: str, serde: Any) -> AsyncIterator[Any]:
    from langgraph_checkpoint_lmdb import AsyncLMDBSaver

    saver = AsyncLMDBSaver(_environment(where), serde=serde)
    try:
        yield saver
    finally:
        saver.executor.shutdown()


ROWS = (Row("LMDBSaver", _PACKAGE, _place, _open, (SYNC,)), Row("AsyncLMDBSaver", _PACKAGE, _place, _aopen, (ASYNC,)))

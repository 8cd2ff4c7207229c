"""A saver with its database, plain or wrapped, and what an operator does to it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import aiosqlite
import psycopg
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as Upstream
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key, Keyring, Sealer
from encrypted_serde.anchor.client import AnchorClient
from encrypted_serde.anchor.memory import MemoryAnchor
from encrypted_serde.maintenance import reencrypt, verify
from tests import mariadb
from tests.postgres import running_postgres, temporary_database

SAVERS = ("memory", "sqlite", "async-sqlite", "postgres", "async-postgres", "shallow-postgres", "mariadb", "shallow-mariadb")


class Refused(Exception):
    """`verify` or `reencrypt` did not pass what nobody attacked."""


# --- calling savers and graphs, synchronous and not


class Calls:
    """Calls the synchronous methods."""

    def one(self, target: Any, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(target, name)(*arguments, **options)

    def all(self, target: Any, name: str, *arguments: Any, **options: Any) -> list[Any]:
        return list(getattr(target, name)(*arguments, **options))

    def close(self) -> None:
        pass


class AsyncCalls(Calls):
    """Calls the asynchronous methods of the same names, on a loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def one(self, target: Any, name: str, *arguments: Any, **options: Any) -> Any:
        return self.loop.run_until_complete(getattr(target, f"a{name}")(*arguments, **options))

    def all(self, target: Any, name: str, *arguments: Any, **options: Any) -> list[Any]:
        async def gather() -> list[Any]:
            return [item async for item in getattr(target, f"a{name}")(*arguments, **options)]

        return self.loop.run_until_complete(gather())

    def close(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


# --- databases


class Home:
    """A database of a checkpointer.

    Attributes:
        calls: How its savers are called.
        address: What `verify` and `reencrypt` take; None where there is no database.
        copies: Whether threads can be copied in it.
        is_shallow: Whether its savers keep the newest checkpoint of a thread alone.
    """

    tables: tuple[str, ...] = ()
    copies = True
    is_shallow = False

    def __init__(self, calls: Calls, address: str | None = None) -> None:
        self.calls = calls
        self.address = address

    def inner(self, serde: Any = None) -> BaseCheckpointSaver[Any]:
        """Returns a saver as the application would open it."""
        raise NotImplementedError

    def sql(self, statement: str, *parameters: Any) -> Any:
        raise NotImplementedError

    def clear(self) -> None:
        for table in self.tables:
            self.sql(f"DELETE FROM {table}")

    def copy(self, source: str, target: str) -> None:
        """Copies a thread in plaintext, row by row."""
        for table in self.tables:
            names = self.columns(table)
            copied = ", ".join("?" if name == "thread_id" else name for name in names)
            statement = f"INSERT INTO {table} ({', '.join(names)}) SELECT {copied} FROM {table} WHERE thread_id = ?"
            self.sql(statement, target, source)

    def columns(self, table: str) -> list[str]:
        raise NotImplementedError


def _copying(cls: type[Any]) -> type[Any]:
    """Returns a saver's class with ``copy_thread``, which no saver of langgraph's has yet."""

    class Copying(cls):  # type: ignore[misc]
        home: Home

        def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
            self.home.copy(source_thread_id, target_thread_id)

        async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
            self.home.copy(source_thread_id, target_thread_id)

    return Copying


_Memory, _Sqlite, _AsyncSqlite = _copying(InMemorySaver), _copying(SqliteSaver), _copying(AsyncSqliteSaver)
_Postgres, _AsyncPostgres = _copying(PostgresSaver), _copying(AsyncPostgresSaver)


class MemoryHome(Home):
    def __init__(self) -> None:
        super().__init__(Calls())
        self.clear()

    def clear(self) -> None:
        self._saver = _Memory()

    def inner(self, serde: Any = None) -> BaseCheckpointSaver[Any]:
        saver = copy.copy(self._saver)
        saver.home = self
        if serde is not None:
            saver.serde = serde
        return saver

    def copy(self, source: str, target: str) -> None:
        saver = self._saver
        saver.storage[target] = copy.deepcopy(saver.storage[source])
        for rows in (saver.writes, saver.blobs):
            for key in [key for key in rows if key[0] == source]:
                rows[(target, *key[1:])] = copy.deepcopy(rows[key])


class SqliteHome(Home):
    tables = ("checkpoints", "writes")

    def __init__(self, path: Path, calls: Calls) -> None:
        super().__init__(calls, str(path))
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._asynchronous: Any = None
        if isinstance(calls, AsyncCalls):
            self._asynchronous = calls.loop.run_until_complete(self._connect(path))
            calls.loop.run_until_complete(self.inner().setup())
        else:
            self.inner().setup()
        self.sql("PRAGMA synchronous = OFF")

    async def _connect(self, path: Path) -> Any:
        connection = await aiosqlite.connect(path)
        await connection.execute("PRAGMA synchronous = OFF")
        return connection

    def inner(self, serde: Any = None) -> BaseCheckpointSaver[Any]:
        if self._asynchronous is None:
            saver = _Sqlite(self._connection, serde=serde)
        else:

            async def make() -> Any:  # it looks for the running loop
                return _AsyncSqlite(self._asynchronous, serde=serde)

            saver = self.calls.loop.run_until_complete(make())
        saver.home = self
        return saver

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        return self._connection.execute(statement, parameters).fetchall()

    def columns(self, table: str) -> list[str]:
        return [row[1] for row in self.sql(f"PRAGMA table_info({table})")]

    def close(self) -> None:
        self._connection.close()
        if self._asynchronous is not None:
            self.calls.loop.run_until_complete(self._asynchronous.close())


_CONNECTED: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}


class PostgresHome(Home):
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

    def __init__(self, dsn: str, calls: Calls, shallow: bool = False) -> None:
        parts = conninfo_to_dict(dsn)
        super().__init__(calls, f"postgresql:///{quote(str(parts.pop('dbname')))}?{urlencode(parts)}")
        self.copies = not shallow
        self.is_shallow = shallow
        self._connection = psycopg.connect(dsn, **_CONNECTED)
        self._asynchronous: Any = None
        if isinstance(calls, AsyncCalls):
            self._asynchronous = calls.loop.run_until_complete(psycopg.AsyncConnection.connect(dsn, **_CONNECTED))
            calls.loop.run_until_complete(self.inner().setup())
        else:
            self.inner().setup()

    def inner(self, serde: Any = None) -> BaseCheckpointSaver[Any]:
        saver: Any
        if self.is_shallow:
            from langgraph.checkpoint.postgres.shallow import ShallowPostgresSaver

            return _quietly(lambda: ShallowPostgresSaver(self._connection, serde=serde))
        if self._asynchronous is None:
            saver = _Postgres(self._connection, serde=serde)
        else:

            async def make() -> Any:
                return _AsyncPostgres(self._asynchronous, serde=serde)

            saver = self.calls.loop.run_until_complete(make())
        saver.home = self
        return saver

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        with self._connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute(statement.replace("?", "%s"), parameters)
            return cursor.fetchall() if cursor.description else []

    def columns(self, table: str) -> list[str]:
        found = self.sql("SELECT column_name FROM information_schema.columns WHERE table_name = ?", table)
        return [name for (name,) in found]

    def close(self) -> None:
        self._connection.close()
        if self._asynchronous is not None:
            self.calls.loop.run_until_complete(self._asynchronous.close())


class MariaDbHome(Home):
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    copies = False

    def __init__(self, url: str, shallow: bool) -> None:
        super().__init__(Calls(), url)
        self.is_shallow = shallow
        self._connection = mariadb.connect(url)
        self.inner().setup()

    def inner(self, serde: Any = None) -> BaseCheckpointSaver[Any]:
        from langgraph.checkpoint.mysql.pymysql import PyMySQLSaver, ShallowPyMySQLSaver

        return _quietly(lambda: (ShallowPyMySQLSaver if self.is_shallow else PyMySQLSaver)(self._connection, serde=serde))

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement.replace("?", "%s"), parameters)
            return list(cursor.fetchall())

    def close(self) -> None:
        self._connection.close()


def _quietly(make: Callable[[], Any]) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return make()


@contextmanager
def homes(kind: str, folder: Path) -> Iterator[tuple[Home, Home]]:
    """Opens two databases for savers of a kind, to live in side by side."""
    with ExitStack() as stack:
        calls = AsyncCalls() if kind.startswith("async") else Calls()
        stack.callback(calls.close)
        found: list[Any] = []
        if kind == "memory":
            yield MemoryHome(), MemoryHome()
            return
        server = stack.enter_context(_server(kind))
        for name in ("plain", "ours"):
            if "sqlite" in kind:
                home: Any = SqliteHome(folder / f"{name}.sqlite", calls)
            elif "mariadb" in kind:
                home = MariaDbHome(stack.enter_context(mariadb.temporary_database(server)), "shallow" in kind)
            else:
                home = PostgresHome(stack.enter_context(temporary_database(server)), calls, "shallow" in kind)
            found.append(stack.enter_context(closing(home)))
        yield found[0], found[1]


def in_memory() -> str | None:
    """Returns a folder that is no disk, where there is one: what is stored here is to be thrown away."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _server(kind: str) -> Any:
    if "postgres" in kind:
        return running_postgres()
    return mariadb.running_mariadb() if "mariadb" in kind else contextlib.nullcontext()


# --- worlds


class World:
    """Savers of one application: two processes, which take turns.

    Attributes:
        home: Their database.
        ids: Number of each checkpoint id that was seen, in the order of ids.
        turn: Which process acts, or reads.
        build: Compiles a graph with that process's saver.
        graph: The graph of this step.
        complaint: What was raised last in this step.
    """

    build: Callable[[Any], Any]
    graph: Any
    complaint = ""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.calls = home.calls
        self.ids: dict[str, int] = {}
        self.turn = 0
        self.reopen()

    @property
    def saver(self) -> BaseCheckpointSaver[Any]:
        return self._savers[self.turn]

    def reopen(self) -> None:
        """Starts both processes anew."""
        self._savers = [self.open(), self.open()]

    def open(self) -> BaseCheckpointSaver[Any]:
        return self.home.inner()

    def operate(self, what: str, rng: Random) -> None:
        """An operator does something to the database. Nothing of it changes what can be read."""

    def check(self) -> None:
        """Raises `Refused` if something is found in the database that is not as it should be."""


OPERATIONS = ("move-in", "seal", "rotate", "rotate-keys", "leave")


class OurWorld(World):
    """Wrapped savers; before they move in, and after they left, plain ones.

    Attributes:
        mode: ``plain``, ``serde`` (the plain saver with an encrypting serializer), ``upstream`` (with langgraph's own),
            ``moving`` (wrapped, what was stored before is admitted) or ``ours``.

    Args:
        home: Their database.
        rng: Draws how they are wrapped.
        anchored: Whether they have an anchor.
    """

    def __init__(self, home: Home, rng: Random, *, anchored: bool = False) -> None:
        self._keys = [Key.generate()]
        self.mode = rng.choice(("ours", "ours", "ours", "plain", "serde", "moving"))
        self._options: dict[str, Any] = {
            "readable_metadata": rng.choice(((), ("team",))),
            "searchable_metadata": rng.choice(((), ("author",), ("author", "topic"))),
        }
        self._wrapping: dict[str, Any] = {
            "verify_delta_history": rng.random() < 0.3,
            "context": rng.choice((None, None, {"tenant_id": "acme"})),
        }
        self._sealing: dict[str, Any] = {
            "cipher": rng.choice(("xaes-256-gcm", "xaes-256-gcm", "aes-256-gcm", "aes-256-eax")),
            "compression": rng.choice((None, "zstd")),
        }
        if self.mode in ("plain", "serde") and rng.random() < 0.4:
            self.mode = "upstream"
        self._anchor = MemoryAnchor() if anchored and not home.is_shallow else None
        self._legacy_keys = (rng.randbytes(32),) if self.mode == "upstream" else ()
        self._unbound = self.mode == "serde"
        if self._unbound and self._wrapping["context"]:  # what it wrote before had none
            self._sealing["accept_contexts"] = ({},)
        super().__init__(home)

    def open(self) -> BaseCheckpointSaver[Any]:
        if self.mode == "plain":
            return self.home.inner()
        if self.mode == "serde":
            return self.home.inner(EncryptedSerializer(self.keyring))
        if self.mode == "upstream":
            return self.home.inner(Upstream.from_pycryptodome_aes(key=self._legacy_keys[0]))
        sealer = Sealer(self.keyring, **self._sealing)
        options = {**self._switches, **self._options, **self._wrapping, "anchor": self._anchor}
        return EncryptedSaver(self.home.inner(), sealer, **options)

    @property
    def keyring(self) -> Keyring:
        return Keyring(primary=self._keys[0], decrypt_only=self._keys[1:])

    @property
    def _switches(self) -> dict[str, Any]:
        if self.mode == "ours":
            return {}
        return {"allow_plaintext": True, "allow_unbound": self._unbound, "legacy_keys": self._legacy_keys}

    @property
    def _client(self) -> AnchorClient | None:
        return None if self._anchor is None else AnchorClient(self._anchor, self.keyring)

    def operate(self, what: str, rng: Random) -> None:
        getattr(self, "_" + what.replace("-", "_"))(rng)
        self.reopen()

    def _move_in(self, rng: Random) -> None:
        if self.mode in ("plain", "serde", "upstream"):
            self.mode = "moving"

    def _seal(self, rng: Random) -> None:
        if self.mode == "moving" and self.home.address is not None:
            self._reencrypt()
            self.mode, self._unbound, self._legacy_keys = "ours", False, ()

    def _rotate(self, rng: Random) -> None:
        self._rotate_keys(rng)
        if self.mode in ("ours", "moving") and self.home.address is not None:
            self._reencrypt()
            del self._keys[1:]

    def _rotate_keys(self, rng: Random) -> None:
        self._keys.insert(0, Key.generate())
        if self._client is not None:
            _ = self._client.names  # the first process that has the new key seals the anchor's secret under it

    def _leave(self, rng: Random) -> None:
        if self.mode in ("ours", "moving") and self.home.address is not None:
            self._reencrypt(target="plaintext")
            self.mode, self._unbound, self._legacy_keys = "plain", False, ()
            if self._anchor is not None:  # what a plain saver deletes is entered nowhere
                self._anchor = MemoryAnchor()

    def _reencrypt(self, **options: Any) -> None:
        options = {**self._switches, **self._options, **options, "context": self._wrapping["context"]}
        done = reencrypt(self.home.address, self.keyring, **options)
        if done.failures or done.left:
            raise Refused(f"reencrypt: {done.left} left, {done.failures[:1]}")

    def check(self) -> None:
        if self.mode in ("ours", "moving") and self.home.address is not None:
            found = verify(self.home.address, self.keyring, anchor=self._client, **self._switches)
            if found.failures:
                raise Refused(f"verify: {found.failures[0]}")

"""A checkpointer for ``"checkpointer": {"path": ...}`` in ``langgraph.json``: `EncryptedSaver` around any saver.

The server's own checkpoints do not pass through a serializer that could be replaced, and ``langgraph dev`` keeps them in
plaintext. A custom checkpointer is the one way in.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from ..core.keys import Key, KeyProvider
from ..core.sealer import Sealer
from ..errors import ConfigurationError
from ..saver import EncryptedSaver
from .guard import TenantSaver
from .startup import Surface, surfaces

_POSTGRES = re.compile(r"postgres(ql)?://|.*\bdbname=", re.DOTALL)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # a single letter is a drive


@asynccontextmanager
async def encrypted_saver(
    database: str | BaseCheckpointSaver[Any] | AbstractAsyncContextManager[BaseCheckpointSaver[Any]],
    keys: Key | KeyProvider | Sealer,
    *,
    required_context: Iterable[str] = (),
    require_context_to_read: bool = False,
    **options: Any,
) -> AsyncIterator[EncryptedSaver]:
    """Opens a database and yields an `EncryptedSaver` around it, with its tables set up.

    The encryption context is that of the request or run, as `make_encryption` gave it; nothing else is believed. A request
    reads the threads of its own context. One without a context reads every thread, unless ``require_context_to_read`` is on;
    it changes, copies and deletes only threads that have none. docs/agent-server.md has the table.

    Args:
        database: A Postgres URL (``postgresql://...``) or connection string (``host=... dbname=...``), or the path of a
            SQLite file. Needs ``langgraph-checkpoint-postgres`` or ``langgraph-checkpoint-sqlite``. For any other database a
            saver, with its tables set up, or what its ``from_conn_string`` returns: an async context manager of one.
        keys: The same object that `make_encryption` is given; `startup_check` compares them.
        required_context: Names that the context of a request must have, or it writes nothing: as for `make_encryption`.
        require_context_to_read: Refuse to read for a request without a context, or without a required name in it.
        **options: As for `EncryptedSaver`, such as ``allow_plaintext``; not ``context``.

    Yields:
        The saver. The server enters this once for each of its event loops, and leaves it when it stops.

    Raises:
        ImportError: If the package for the database is not installed.
        TypeError: If ``database`` is none of these.
        ConfigurationError: If it is a URL of another database.

    Example:
        ```python
        def checkpointer():
            return encrypted_saver("checkpoints.sqlite", keys, required_context=("tenant_id",))
        ```
    """
    options |= {"required_context": required_context, "require_context_to_read": require_context_to_read}
    async with AsyncExitStack() as stack:
        saver = TenantSaver(await _opened(database, stack), keys, **options)
        surfaces["checkpointer"] = Surface(saver.keys, saver.trust.required)
        yield saver


async def _opened(database: Any, stack: AsyncExitStack) -> BaseCheckpointSaver[Any]:
    if isinstance(database, BaseCheckpointSaver):
        return database
    if isinstance(database, AbstractAsyncContextManager):
        saver: BaseCheckpointSaver[Any] = await stack.enter_async_context(database)
        return saver
    if not isinstance(database, str):
        raise TypeError(f"database is a URL, a path, a saver or an async context manager of one, not {type(database).__name__}")
    if _POSTGRES.match(database):
        return await _postgres(database, stack)
    if _URL.match(database):
        scheme = database.partition(":")[0]
        raise ConfigurationError(f"{scheme}: is no database that is opened here: open its saver yourself, and pass that")
    return await _sqlite(database, stack)


async def _sqlite(path: str, stack: AsyncExitStack) -> BaseCheckpointSaver[Any]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(path))
    await saver.setup()
    return saver


async def _postgres(dsn: str, stack: AsyncExitStack) -> BaseCheckpointSaver[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    # A pool, unlike one connection, survives a restart of the database. The settings are those that the saver needs.
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(dsn, kwargs=settings, open=False)
    saver = AsyncPostgresSaver(await stack.enter_async_context(pool))
    await saver.setup()
    return saver

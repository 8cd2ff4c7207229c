"""A checkpointer for ``"checkpointer": {"path": ...}`` in ``langgraph.json``: `EncryptedSaver` around SQLite or Postgres.

The server's own checkpoints do not pass through a serializer that could be replaced, and ``langgraph dev`` keeps them in
plaintext. A custom checkpointer is the one way in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from ..core.keys import Key, KeyProvider
from ..core.sealer import Sealing
from ..saver import EncryptedSaver
from .guard import TenantSaver
from .startup import Surface, surfaces


@asynccontextmanager
async def encrypted_saver(
    database: str,
    keys: Key | KeyProvider | Sealing,
    *,
    required_context: Iterable[str] = (),
    require_context_to_read: bool = False,
    **options: Any,
) -> AsyncIterator[EncryptedSaver]:
    """Opens a database and yields an `EncryptedSaver` around it, with its tables set up.

    The encryption context is that of the request or run, as `make_encryption` vouched for it; what nobody vouched for is
    refused. A request reads the threads of its own context. One without a context reads every thread, unless
    ``require_context_to_read`` is on; it changes, copies and deletes only threads that have none. docs/agent-server.md has the
    table.

    Args:
        database: A Postgres URL (``postgresql://...``) or connection string (``host=... dbname=...``), or the path of a
            SQLite file. Needs ``langgraph-checkpoint-postgres`` or ``langgraph-checkpoint-sqlite``.
        keys: The same object that `make_encryption` is given; `startup_check` compares them.
        required_context: Names that the context of a request must have, or it writes nothing: as for `make_encryption`.
        require_context_to_read: Refuse to read for a request without a context, or without a required name in it.
        **options: As for `EncryptedSaver`, such as ``allow_plaintext``; not ``context``.

    Yields:
        The saver. The server enters this once for each of its event loops, and leaves it when it stops.

    Raises:
        ImportError: If the package for the database is not installed.

    Example:
        ```python
        def checkpointer():
            return encrypted_saver("checkpoints.sqlite", keys, required_context=("tenant_id",))
        ```
    """
    options |= {"required_context": required_context, "require_context_to_read": require_context_to_read}
    async with AsyncExitStack() as stack:
        open_saver = _postgres if _is_postgres(database) else _sqlite
        saver = TenantSaver(await open_saver(database, stack), keys, **options)
        surfaces["checkpointer"] = Surface(saver.keys, saver.trust.required)
        yield saver


def _is_postgres(database: str) -> bool:
    return database.startswith(("postgres://", "postgresql://")) or "dbname=" in database


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

"""A checkpointer for ``"checkpointer": {"path": ...}`` in ``langgraph.json``: `EncryptedSaver` around SQLite or Postgres.

The server's own checkpoints do not pass through a serializer that could be replaced, and ``langgraph dev`` keeps them in
plaintext. A custom checkpointer is the one way in.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from ..core.keys import Key, KeyProvider
from ..core.sealer import Sealer
from ..saver import EncryptedSaver
from .trust import vouched_context


@asynccontextmanager
async def encrypted_saver(database: str, keys: Key | KeyProvider, **options: Any) -> AsyncIterator[EncryptedSaver]:
    """Opens a database and yields an `EncryptedSaver` around it, with its tables set up.

    The encryption context is that of the request or run, as `make_encryption` vouched for it; what nobody vouched for is
    refused. Without handlers, or where the request has no context, there is none.

    Args:
        database: A Postgres URL (``postgresql://...``) or connection string (``host=... dbname=...``), or the path of a
            SQLite file. Needs ``langgraph-checkpoint-postgres`` or ``langgraph-checkpoint-sqlite``.
        keys: The keys that the handlers have, or others; but the tokens of the handlers must open under them.
        **options: As for `EncryptedSaver`, such as ``allow_plaintext``.

    Yields:
        The saver. The server enters this once for each of its event loops, and leaves it when it stops.

    Raises:
        ImportError: If the package for the database is not installed.

    Example:
        ```python
        def checkpointer():
            return encrypted_saver("checkpoints.sqlite", Keyring.from_env())
        ```
    """
    options.setdefault("context", server_context(Sealer(keys)))
    async with AsyncExitStack() as stack:
        open_saver = _postgres if _is_postgres(database) else _sqlite
        yield EncryptedSaver(await open_saver(database, stack), keys, **options)


def server_context(sealer: Sealer) -> Callable[[Mapping[str, Any]], Mapping[str, str] | None]:
    """Makes the function that tells `EncryptedSaver` the server's encryption context.

    Args:
        sealer: What opens the token that vouches for the context.

    Returns:
        A function of the run's config (which it does not need: the server keeps the context in a context variable). It gives
        None outside the server and where there is no context, and raises `UntrustedContext` for one that is not trusted.
    """

    def context_of_run(config: Mapping[str, Any]) -> Mapping[str, str] | None:
        module = sys.modules.get("langgraph_api.encryption.context")
        metadata = module.get_encryption_context() if module else None
        return dict(vouched_context(sealer, metadata).pairs) or None if metadata else None

    return context_of_run


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

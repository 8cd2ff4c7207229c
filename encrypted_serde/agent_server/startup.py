"""A check at start-up that the server calls the handlers at all.

``langgraph dev`` ignores ``"encryption"`` in ``langgraph.json`` without a word and stores everything in plaintext. Nothing in
the handlers can notice that they are not called, so something else has to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph_sdk import get_client

from ..errors import ConfigurationError

handler_calls: Counter[str] = Counter()
"""How often each handler was called in this process: ``encrypt.json``, ``decrypt.json``, ``encrypt.blob``, ``decrypt.blob``,
``context``. The server loads the module that makes the handlers under a name of its own, so they are counted here."""

_NOT_CALLED = (
    "the encryption handlers are not called: set LANGGRAPH_ENCRYPTION='{\"path\": \"./encryption.py:encryption\"}' in the "
    "environment or under \"env\" in langgraph.json; langgraph dev ignores \"encryption\" there"
)  # fmt: skip


@asynccontextmanager
async def startup_check(app: object) -> AsyncIterator[None]:
    """Creates a thread through the server's own API, and keeps the server from starting if no handler was called for it.

    It is a lifespan: ``app = Starlette(lifespan=startup_check)``, named by ``"http": {"app": ...}`` in ``langgraph.json``. The
    thread is deleted again. Where ``context_from_user`` needs a user there is none, the handler refuses to write, and that
    shows too that it is called.

    Args:
        app: The application; not used.

    Raises:
        ConfigurationError: If the handlers are not called.
    """
    before = handler_calls["encrypt.json"]
    async with get_client(url=None) as client:
        try:
            thread = await client.threads.create(metadata={"purpose": "encrypted-serde start-up check"})
            await client.threads.delete(thread["thread_id"])
        except Exception:
            # The client is connected in-process and lets the handler's own error through, of whatever class.
            if handler_calls["encrypt.json"] == before:
                raise
    if handler_calls["encrypt.json"] == before:
        raise ConfigurationError(_NOT_CALLED)
    yield

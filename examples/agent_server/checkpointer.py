"""The server's checkpointer: SQLite here, ``postgresql://...`` in production."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tenant_keys import REQUIRED, keys

from encrypted_serde import EncryptedSaver
from encrypted_serde.agent_server import encrypted_saver


def checkpointer() -> AbstractAsyncContextManager[EncryptedSaver]:
    return encrypted_saver("checkpoints.sqlite", keys, required_context=REQUIRED, require_context_to_read=True)

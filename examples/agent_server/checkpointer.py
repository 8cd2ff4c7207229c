"""What "checkpointer" in langgraph.json points to. Give encrypted_saver a postgresql:// URL in production."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from encrypted_serde import EncryptedSaver, Keyring
from encrypted_serde.agent_server import encrypted_saver


def checkpointer() -> AbstractAsyncContextManager[EncryptedSaver]:
    return encrypted_saver("checkpoints.sqlite", Keyring.from_env())

"""The server's checkpointer."""

from encrypted_serde import Keyring
from encrypted_serde.agent_server import encrypted_saver
from encrypted_serde.audit import LogListener


def checkpointer():
    return encrypted_saver("checkpoints.sqlite", Keyring.from_env(), audit=LogListener())

"""The server's checkpointer."""

from tenant_keys import keys, options

from encrypted_serde.agent_server import encrypted_saver


def checkpointer():
    return encrypted_saver("checkpoints.sqlite", keys, **options)

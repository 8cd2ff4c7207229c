"""What the handlers of Agent Server cost: called by themselves, and over the gRPC channel by which the server calls them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langgraph_sdk import EncryptionContext as RequestContext

from encrypted_serde import Key, Keyring
from encrypted_serde.agent_server import make_encryption
from encrypted_serde.agent_server.trust import Trust
from encrypted_serde.core.context import EncryptionContext
from tests.agent_server.grpc_service import Service, grpc_service

OURS = "our handlers"
NOTHING = "handlers that do nothing"

OBJECT: dict[str, Any] = {
    f"key_{number}": {"text": "a line of some forty characters, more or less", "n": number} for number in range(20)
}
"""A JSON object of 20 keys, about 1.5 KiB."""

BLOB = os.urandom(64 << 10)

_KEY = Key.generate()
_CONTEXT = {"tenant_id": "acme"}


async def _tenant(user: object, ctx: RequestContext) -> Mapping[str, str]:
    return _CONTEXT


def direct_calls() -> dict[str, Callable[[], Any]]:
    """Gives a call of each handler of ours. With keys in memory they never wait, and so need no event loop to run on."""
    encryption = make_encryption(_KEY, context_from_user=_tenant)
    metadata = _metadata()

    def call(handler: Any, data: Any) -> Callable[[], Any]:
        def run() -> Any:
            try:
                handler(RequestContext(metadata=dict(metadata)), data).send(None)  # an encrypt handler changes it
            except StopIteration as end:
                return end.value
            raise RuntimeError("the handler waited")

        return run

    row = call(encryption._json_encryptor, OBJECT)()
    blob = call(encryption._blob_encryptor, BLOB)()
    return {
        "encrypt JSON of 20 keys": call(encryption._json_encryptor, OBJECT),
        "decrypt JSON of 20 keys": call(encryption._json_decryptor, row),
        "encrypt a blob of 64 KiB": call(encryption._blob_encryptor, BLOB),
        "decrypt a blob of 64 KiB": call(encryption._blob_decryptor, blob),
    }


SERVED: dict[str, Callable[[Service], Callable[[], Any]]] = {
    "encrypt JSON of 20 keys": lambda service: lambda: service.encrypt_json(OBJECT, _metadata()),
    "decrypt JSON of 20 keys": lambda service: _after(service.encrypt_json(OBJECT, _metadata()), service.decrypt_json),
    "encrypt a blob of 64 KiB": lambda service: lambda: service.encrypt_blob(BLOB, _metadata()),
    "decrypt a blob of 64 KiB": lambda service: _after(service.encrypt_blob(BLOB, _metadata()), service.decrypt_blob),
}
"""What is asked of a service -> makes the call. Needs Python 3.11, as the server does."""


@contextmanager
def served(handlers: str) -> Iterator[Service]:
    """Serves `OURS` or `NOTHING` by the server's own gRPC service, in a process of its own."""
    path = {OURS: "./encryption.py:encryption", NOTHING: "./nothing.py:encryption"}[handlers]
    environ = {"TENANTS": "user", "ENCRYPTED_SERDE_KEY": _KEY.to_text()}
    with tempfile.TemporaryDirectory(prefix="es-bench-") as directory, grpc_service(Path(directory), path, environ) as service:
        yield service


def _metadata() -> dict[str, str]:
    return Trust(Keyring(primary=_KEY)).carried(EncryptionContext.of(_CONTEXT))


def _after(data: Any, call: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: call(data)

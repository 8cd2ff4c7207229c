"""Runs the server's own gRPC service around the handlers, and calls it as the core of the built image does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .server import HERE, environment

_IN_MEMORY = {
    "LANGGRAPH_RUNTIME_EDITION": "inmem",
    "DATABASE_URI": ":memory:",
    "REDIS_URI": "fake",
    "MIGRATIONS_PATH": "__inmem",
}


class Refused(Exception):
    """What the core is told when a handler raises."""


class Service:
    """The four calls of the core, over a real channel."""

    def __init__(self, port: int) -> None:
        import grpc
        from langgraph_grpc_common.proto import encryption_pb2
        from langgraph_grpc_common.proto.encryption_pb2_grpc import EncryptionStub

        self._messages = encryption_pb2
        self._error = grpc.RpcError
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub = EncryptionStub(self.channel)

    def encrypt_json(self, data: Any, metadata: Mapping[str, Any], model: str = "thread", field: str = "metadata") -> Any:
        context = self._context(metadata, model, field)
        request = self._messages.EncryptJSONRequest(data=json.dumps(data).encode(), context=context)
        return json.loads(self._call("EncryptJSON", request).data)

    def decrypt_json(self, data: Any, model: str = "thread", field: str = "metadata") -> tuple[Any, Any]:
        """Gives the plaintext and the replacement."""
        request = self._messages.DecryptJSONRequest(data=json.dumps(data).encode(), model=model, field=field)
        response = self._call("DecryptJSON", request)
        return json.loads(response.data), json.loads(response.replacement or b"null")

    def encrypt_blob(self, data: bytes, metadata: Mapping[str, Any]) -> bytes:
        request = self._messages.EncryptBlobRequest(data=data, context=self._context(metadata, "checkpoint", "blob"))
        return bytes(self._call("EncryptBlob", request).data)

    def decrypt_blob(self, data: bytes, metadata: Mapping[str, Any] | None = None) -> tuple[bytes, bytes | None]:
        """Gives the plaintext and the replacement."""
        request = self._messages.DecryptBlobRequest(data=data, context=self._context(metadata or {}, "checkpoint", "blob"))
        response = self._call("DecryptBlob", request)
        return response.data, response.replacement or None

    def _context(self, metadata: Mapping[str, Any], model: str, field: str) -> Any:
        encoded = {name: json.dumps(value).encode() for name, value in metadata.items()}
        return self._messages.EncryptionContext(model=model, field=field, metadata=encoded)

    def _call(self, name: str, request: Any) -> Any:
        try:
            return getattr(self._stub, name)(request, timeout=20)
        except self._error as error:
            raise Refused(error.details()) from None


@contextmanager
def grpc_service(directory: Path, handlers: str, environ: dict[str, str]) -> Iterator[Service]:
    """Starts the service in a process of its own and connects to it.

    Args:
        directory: An empty one.
        handlers: Which to serve, of the files in ``app/``: ``./encryption.py:encryption``.
        environ: Added to the environment.
    """
    shutil.copytree(HERE / "app", directory, dirs_exist_ok=True)
    settings = {**_IN_MEMORY, "LANGGRAPH_ENCRYPTION": json.dumps({"path": handlers}), **environ}
    log = directory / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "grpc_server.py"],
            cwd=directory,
            env=environment(directory, settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:  # waits, and closes the pipes
        try:
            lines = iter(process.stdout.readline, b"") if process.stdout else iter(())
            port = next((int(line.split()[1]) for line in lines if line.startswith(b"PORT ")), None)
            if port is None:
                raise RuntimeError(f"the service did not start:\n{log.read_text(encoding='utf-8')}")
            service = Service(port)
            try:
                yield service
            finally:
                service.channel.close()
        finally:
            process.communicate(timeout=30)  # closes its standard input, upon which it ends

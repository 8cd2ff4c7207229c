"""Vault: an HTTP server that answers the documented transit API, and the real hvac."""

from __future__ import annotations

import base64
import binascii
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hvac
import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from encrypted_serde.kms.vault import VaultKeyWrapper
from tests.kms.service import TIMEOUT, Faults

_FAULTS: dict[str, tuple[int, Any]] = {
    "throttle": (429, {"errors": ['request path "transit/encrypt/tenants": rate limit quota exceeded']}),
    "down": (503, {"errors": ["Vault is sealed"]}),
    "garbage": (200, b"<html>It works!</html>"),
    "garbage error": (500, b"[]"),
    "empty": (200, {"data": {}}),
    "no data": (200, ["vault"]),
    "wrong type": (200, {"data": {"ciphertext": 7, "plaintext": 7}}),
    "bad base64": (200, {"data": {"ciphertext": "vault:v1:", "plaintext": "!"}}),
    "other text": (200, {"data": {"ciphertext": "not-from-vault", "plaintext": ""}}),
}


class VaultService:
    """Encrypts for real. The key ``rsa`` stands for a type that pays no heed to associated data."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.keys = {name: AESGCM(os.urandom(32)) for name in ("tenants", "other", "rsa")}
        self.disabled: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self._session = requests.Session()
        self._session.trust_env = False
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.client = hvac.Client(url=url, token="test", timeout=TIMEOUT, session=self._session)

    def wrapper(self, key: str = "tenants") -> VaultKeyWrapper:
        return VaultKeyWrapper(key, client=self.client)

    def disable(self, key: str = "tenants") -> None:
        self.disabled.add(key)

    def answer(self, path: str, token: str | None, body: dict[str, str]) -> tuple[int, Any]:
        version, mount, operation, name = path.strip("/").split("/")
        assert (version, mount) == ("v1", "transit")
        if (fault := self.faults.take(operation)) in _FAULTS:
            return _FAULTS[fault]
        if token != "test":
            return 403, {"errors": ["permission denied"]}
        if name not in self.keys:
            return 400, {"errors": ["encryption key not found"]}
        if name in self.disabled:
            return 400, {"errors": ["ciphertext or signature version is disallowed by policy (too old)"]}
        key, aad = self.keys[name], base64.b64decode(body["associated_data"]) if name != "rsa" else b""
        if operation == "encrypt":
            nonce = os.urandom(12)
            data = nonce + key.encrypt(nonce, base64.b64decode(body["plaintext"]), aad)
            return 200, {"data": {"ciphertext": f"vault:v1:{base64.b64encode(data).decode()}", "key_version": 1}}
        if not body["ciphertext"].startswith("vault:v1:"):
            return 400, {"errors": ["invalid ciphertext: no prefix"]}
        try:
            data = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"), validate=True)
        except binascii.Error:
            return 400, {"errors": ["invalid ciphertext: could not decode base64"]}
        if len(data) < 12:
            return 400, {"errors": ["invalid ciphertext length"]}
        try:
            plaintext = key.decrypt(data[:12], data[12:], aad)
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plaintext).decode()}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = service.answer(self.path, self.headers.get("X-Vault-Token"), body)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:  # the client was tired of waiting
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def reset(self) -> None:
        self.faults.released.set()
        self.faults = Faults()
        self.disabled.clear()
        self.client.token = "test"

    def close(self) -> None:
        self.faults.released.set()
        self._session.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def running() -> Iterator[VaultService]:
    service = VaultService()
    try:
        yield service
    finally:
        service.close()

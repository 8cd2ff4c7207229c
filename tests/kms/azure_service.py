"""Azure Key Vault: an HTTPS server that speaks its REST interface, and the real client, over the loopback interface."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.keyvault.keys.crypto import CryptographyClient
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from encrypted_serde.kms.azure import AzureKeyWrapper
from tests.kms.service import TIMEOUT, Faults

_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
_VERSION = "0123456789abcdef0123456789abcdef"
_COUNTED = ("sign", "unwrapkey")
_CHALLENGE = 'Bearer authorization="https://login.example/tenant", resource="https://vault.azure.net"'


class _Credential:
    """What azure-identity would give."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("test", 2**32)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _number(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def certificate(folder: Path) -> Path:
    """Makes a certificate for 127.0.0.1 with its key, in one file: the client sends no token but over TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "azure.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class AzureService:
    """Wraps, unwraps, signs and verifies for real, and answers with the status codes of the service."""

    trial_calls = 2  # a wrong context is noticed before Key Vault is asked

    def __init__(self, folder: Path) -> None:
        self.faults = Faults()
        self.keys = {name: rsa.generate_private_key(65537, 2048) for name in ("tenants", "other")}
        self._disabled: set[str] = set()
        self._certificate = certificate(folder)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self._clients: list[CryptographyClient] = []

    def key_id(self, key: str = "tenants", port: int = 0) -> str:
        return f"https://127.0.0.1:{port or self._server.server_port}/keys/{key}/{_VERSION}"

    def make_client(self, key_id: str) -> CryptographyClient:
        client = CryptographyClient(
            key_id,
            _Credential(),
            connection_verify=str(self._certificate),
            verify_challenge_resource=False,
            connection_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            retry_total=0,
        )
        self._clients.append(client)
        return client

    def wrapper(self, key: str = "tenants") -> AzureKeyWrapper:
        return AzureKeyWrapper(self.key_id(key), client=self.make_client(self.key_id(key)))

    def disable(self, key: str = "tenants") -> None:
        self._disabled.add(key)

    def reset(self) -> None:
        self.faults.released.set()
        self.faults = Faults()
        self._disabled.clear()

    def close(self) -> None:
        self.faults.released.set()
        for client in self._clients:
            client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(*service.answer(self.path, None, self.headers.get("Authorization")))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*service.answer(self.path, json.loads(body or b"{}"), self.headers.get("Authorization")))

            def _answer(self, status: int, body: Any) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                if status == 401:
                    self.send_header("WWW-Authenticate", _CHALLENGE)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def answer(self, path: str, body: dict[str, Any] | None, token: str | None) -> tuple[int, Any]:
        if token != "Bearer test":
            return 401, {"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer token"}}
        _, _, name, _, *rest = path.partition("?")[0].split("/")
        action = rest[0] if rest else ""
        if action in _COUNTED:
            fault = self.faults.take(action)
            if fault == "throttle":
                return 429, {"error": {"code": "Throttled", "message": "Request was not processed"}}
            if fault == "down":
                return 503, b""
            if fault == "garbage":
                return 200, b"<html>It works!</html>"
            if fault == "empty":
                return 200, {}
        if name not in self.keys:
            return 404, {"error": {"code": "KeyNotFound", "message": f"A key with (name/id) {name} was not found"}}
        if action and name in self._disabled:
            return 403, {"error": {"code": "Forbidden", "innererror": {"code": "KeyDisabled"}, "message": "disabled"}}
        return self._worked(name, action, body or {})

    def _worked(self, name: str, action: str, body: dict[str, Any]) -> tuple[int, Any]:
        key, kid = self.keys[name], self.key_id(name)
        numbers = key.public_key().public_numbers()
        if not action:
            operations = ["wrapKey", "unwrapKey", "sign", "verify"]
            parts = {"kid": kid, "kty": "RSA", "key_ops": operations, "n": _number(numbers.n), "e": _number(numbers.e)}
            return 200, {"key": parts, "attributes": {"enabled": True}}
        if body.get("alg") not in ("RSA-OAEP-256", "PS256"):
            return 400, {"error": {"code": "BadParameter", "message": "alg"}}
        value = _bytes(body["value"])
        try:
            if action == "wrapkey":
                return 200, {"kid": kid, "value": _text(key.public_key().encrypt(value, _OAEP))}
            if action == "unwrapkey":
                return 200, {"kid": kid, "value": _text(key.decrypt(value, _OAEP))}
            if action == "sign":
                return 200, {"kid": kid, "value": _text(key.sign(value, _PSS, Prehashed(hashes.SHA256())))}
            key.public_key().verify(value, _bytes(body["digest"]), _PSS, Prehashed(hashes.SHA256()))
        except InvalidSignature:
            return 200, {"value": False}
        except ValueError:
            return 400, {"error": {"code": "BadParameter", "message": "The parameter is incorrect."}}
        return 200, {"value": True}


@contextmanager
def running() -> Iterator[AzureService]:
    with tempfile.TemporaryDirectory() as folder:
        service = AzureService(Path(folder))
        try:
            yield service
        finally:
            service.close()

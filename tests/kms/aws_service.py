"""AWS KMS: moto's server over HTTP, spoken to with the real boto3, and a layer in front that makes calls fail."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from encrypted_serde.kms.aws import AwsKeyWrapper
from tests.kms.service import TIMEOUT, Faults

_JSON = "application/x-amz-json-1.1"


class _Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        pass


class AwsService:
    """Moto does not refuse disabled keys; the layer in front does, with the documented error."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._disabled: set[str] = set()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.client = self.make_client()
        patient = self.make_client(timeout=60)  # moto is slow to begin with
        self._keys = {name: patient.create_key(Description=name)["KeyMetadata"]["Arn"] for name in ("tenants", "other")}
        patient.close()

    def make_client(self, timeout: float = TIMEOUT) -> Any:
        return boto3.client(
            "kms",
            endpoint_url=f"http://127.0.0.1:{self._server.server_port}",
            region_name="eu-central-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(connect_timeout=timeout, read_timeout=timeout, retries={"mode": "standard", "total_max_attempts": 2}),
        )

    def wrapper(self, key: str = "tenants") -> AwsKeyWrapper:
        return AwsKeyWrapper(self._keys.get(key, key), client=self.client)

    def disable(self, key: str = "tenants") -> None:
        self._disabled.add(self._keys[key])

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        call = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if call not in ("Encrypt", "Decrypt"):
            return self._moto(environ, start_response)
        fault = self.faults.take(call)
        if fault == "throttle":
            return _respond(start_response, "400 Bad Request", {"__type": "ThrottlingException", "message": "slow down"})
        if fault == "garbage":
            return _respond(start_response, "200 OK", b"<html>It works!</html>")
        if fault == "wrong type":
            return _respond(start_response, "200 OK", {"CiphertextBlob": 7, "Plaintext": 7})
        if fault == "bad base64":
            return _respond(start_response, "200 OK", {"CiphertextBlob": "x", "Plaintext": "x"})
        if fault == "down":
            return _respond(start_response, "503 Service Unavailable", b"")
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(body)
        if json.loads(body).get("KeyId") in self._disabled:
            return _respond(start_response, "400 Bad Request", {"__type": "DisabledException", "message": "is disabled"})
        return self._moto(environ, start_response)

    def reset(self) -> None:
        self.faults.released.set()
        self.faults = Faults()
        self._disabled.clear()

    def close(self) -> None:
        self.faults.released.set()
        self.client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _respond(start_response: Any, status: str, body: dict[str, Any] | bytes) -> list[bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    start_response(status, [("Content-Type", _JSON), ("Content-Length", str(len(data)))])
    return [data]


@contextmanager
def running() -> Iterator[AwsService]:
    service = AwsService()
    try:
        yield service
    finally:
        service.close()

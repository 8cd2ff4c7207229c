"""Google Cloud KMS: a gRPC server that speaks KeyManagementService, and the real client over an insecure loopback channel."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # Google's libraries announce which Python they will drop next
    import google_crc32c
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport
    from google.cloud.kms_v1.types import DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse

    from encrypted_serde.kms.gcp import GoogleKeyWrapper

from tests.kms.service import TIMEOUT, Faults

_RING = "projects/test/locations/europe-west3/keyRings/agents/cryptoKeys"
_STATUS = {
    "throttle": (grpc.StatusCode.RESOURCE_EXHAUSTED, "Quota exceeded for quota metric 'Cryptographic requests'"),
    "down": (grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable."),
}


class GoogleService:
    """Encrypts for real, checks checksums as the service does, and answers with its status codes."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._keys = {f"{_RING}/{name}": AESGCM(os.urandom(32)) for name in ("tenants", "other")}
        self._disabled: set[str] = set()
        self._server = grpc.server(ThreadPoolExecutor(8))
        methods = {
            "Encrypt": grpc.unary_unary_rpc_method_handler(
                self._encrypt, EncryptRequest.deserialize, self._serialize(EncryptResponse)
            ),
            "Decrypt": grpc.unary_unary_rpc_method_handler(
                self._decrypt, DecryptRequest.deserialize, self._serialize(DecryptResponse)
            ),
        }
        handler = grpc.method_handlers_generic_handler("google.cloud.kms.v1.KeyManagementService", methods)
        self._server.add_generic_rpc_handlers((handler,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.client = KeyManagementServiceClient(transport=KeyManagementServiceGrpcTransport(channel=self._channel))

    def wrapper(self, key: str = "tenants") -> GoogleKeyWrapper:
        return GoogleKeyWrapper(f"{_RING}/{key}", client=self.client, timeout=TIMEOUT)

    def disable(self, key: str = "tenants") -> None:
        self._disabled.add(f"{_RING}/{key}")

    @staticmethod
    def _serialize(kind: Any) -> Any:
        return lambda answer: answer if isinstance(answer, bytes) else kind.serialize(answer)

    def _key(self, request: Any, context: grpc.ServicerContext) -> AESGCM:
        if request.name not in self._keys:
            context.abort(grpc.StatusCode.NOT_FOUND, f"CryptoKey {request.name} not found.")
        if request.name in self._disabled:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{request.name} is not enabled, current state is: DISABLED.")
        aad = request.additional_authenticated_data
        assert request.additional_authenticated_data_crc32c == google_crc32c.value(aad)
        return self._keys[request.name]

    def _fail(self, call: str, context: grpc.ServicerContext) -> str | None:
        fault = self.faults.take(call)
        if fault in _STATUS:
            context.abort(*_STATUS[fault])
        return fault

    def _encrypt(self, request: EncryptRequest, context: grpc.ServicerContext) -> EncryptResponse | bytes:
        fault = self._fail("Encrypt", context)
        key = self._key(request, context)
        assert request.plaintext_crc32c == google_crc32c.value(request.plaintext)
        nonce = os.urandom(12)
        ciphertext = nonce + key.encrypt(nonce, request.plaintext, request.additional_authenticated_data)
        if fault == "garbage":
            return b"\xff\xff<html>"
        return EncryptResponse(
            name=f"{_RING}/another/cryptoKeyVersions/1" if fault == "another key" else f"{request.name}/cryptoKeyVersions/1",
            ciphertext=ciphertext,
            ciphertext_crc32c=google_crc32c.value(ciphertext) ^ (fault == "checksum"),
            verified_plaintext_crc32c=fault != "unverified",
            verified_additional_authenticated_data_crc32c=True,
        )

    def _decrypt(self, request: DecryptRequest, context: grpc.ServicerContext) -> DecryptResponse | bytes:
        fault = self._fail("Decrypt", context)
        key = self._key(request, context)
        data, aad = request.ciphertext, request.additional_authenticated_data
        try:
            plaintext = key.decrypt(data[:12], data[12:], aad)
        except (InvalidTag, ValueError):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "Decryption failed: verify that 'name' refers to the correct CryptoKey.",
            )
        if fault == "garbage":
            return b"\xff\xff<html>"
        return DecryptResponse(plaintext=plaintext, plaintext_crc32c=google_crc32c.value(plaintext) ^ (fault == "checksum"))

    def reset(self) -> None:
        self.faults.released.set()
        self.faults = Faults()
        self._disabled.clear()

    def close(self) -> None:
        self.faults.released.set()
        self._channel.close()
        self._server.stop(None).wait()


@contextmanager
def running() -> Iterator[GoogleService]:
    service = GoogleService()
    try:
        yield service
    finally:
        service.close()

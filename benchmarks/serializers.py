"""What is compared: no encryption, ours, langgraph's own, and the floor below which no encrypting serializer can get."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from Crypto.Cipher import AES
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import EncryptedSerializer, Key


class Floor:
    """The least that encryption costs: the inner serializer, a fresh nonce, one call of AES-GCM, and nothing else.

    It names no key, binds nothing and checks nothing; it is here to be measured, not to be used.
    """

    def __init__(self) -> None:
        self._inner = JsonPlusSerializer()
        self._aead = AESGCM(os.urandom(32))

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        inner_type, plaintext = self._inner.dumps_typed(obj)
        nonce = os.urandom(12)
        return inner_type, nonce + self._aead.encrypt(nonce, plaintext, None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        inner_type, blob = data
        return self._inner.loads_typed((inner_type, self._aead.decrypt(blob[:12], blob[12:], None)))


def _upstream(mode: int) -> SerializerProtocol:
    return UpstreamSerializer.from_pycryptodome_aes(key=os.urandom(32), mode=mode)


PLAINTEXT, FLOOR, OURS, UPSTREAM_EAX = "plaintext", "floor", "ours", "upstream EAX"

SERIALIZERS: dict[str, Callable[[], SerializerProtocol]] = {
    PLAINTEXT: JsonPlusSerializer,
    FLOOR: Floor,
    OURS: lambda: EncryptedSerializer(Key.generate()),
    "ours AES-GCM": lambda: EncryptedSerializer(Key.generate(), cipher="aes-256-gcm"),
    "ours EAX": lambda: EncryptedSerializer(Key.generate(), cipher="aes-256-eax"),
    "upstream GCM": lambda: _upstream(AES.MODE_GCM),
    UPSTREAM_EAX: lambda: _upstream(AES.MODE_EAX),
}
"""Every serializer by name, each under a key of its own. "ours" is the default: XAES-256-GCM."""

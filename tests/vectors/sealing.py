"""How one vector is sealed, with every field on the way written down, by a `Sealer` whose randomness is known."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from encrypted_serde import Key, Sealer
from encrypted_serde.core import prepared
from encrypted_serde.core import sealer as sealer_module
from encrypted_serde.core.binding import Binding
from encrypted_serde.core.ciphers import CIPHERS
from encrypted_serde.core.claims import Claims, encode_claims
from encrypted_serde.core.context import NO_CONTEXT, EncryptionContext
from encrypted_serde.core.encoding import b64url_encode, lp, lps, pl
from encrypted_serde.core.format import FLAG_BOUND, FLAG_ZSTD
from encrypted_serde.core.keys import PROTOCOL

XAES, GCM, EAX = CIPHERS
ACME = {"tenant_id": "acme"}
LOCATION = ["value", "thread-1", "", "messages"]
CLAIMS = {"version": "00000000000000000000000000000002.0.5"}
TASK_ID, CHECKPOINT_ID = "6f1c0f5e-8a1b-5c2d-9e3f-001122334455", "1f0e7a3c-0000-6000-8000-000000000001"
WRITE = {"task_id": TASK_ID, "checkpoint_id": CHECKPOINT_ID, "task_path": "~__pregel_pull, agent", "batch": "0123456789abcdef"}
WRITE = {**WRITE, "idx": 0, "size": 2, "of": 1}
Vector = dict[str, Any]


def stream(label: str, size: int) -> bytes:
    """Bytes that look random and are the same in every run."""
    return hashlib.shake_128(f"encrypted-serde test vectors: {label}".encode()).digest(size)


KEY = Key.from_bytes(stream("key", 32))
OTHER_KEY = Key.from_bytes(stream("other key", 32))


@contextmanager
def fixed_nonce(sealer: Sealer, context: EncryptionContext, nonce: bytes) -> Iterator[None]:
    """Makes the first value that a sealer seals under this context have this nonce."""
    drawn = io.BytesIO(nonce).read
    with mock.patch.object(prepared, "random_bytes", drawn), mock.patch.object(sealer_module, "random_bytes", drawn):
        sealer._writer(context)  # draws the part of the nonce that is kept; sealing draws the rest
        yield


def seal(
    name: str,
    cipher: str,
    plaintext: bytes,
    *,
    inner_type: str = "msgpack",
    context: Mapping[str, str] | None = None,
    location: list[str] | None = None,
    claims: Claims | None = None,
    packed: bytes | None = None,
) -> Vector:
    """Seals one value with every field on the way written down. `packed` stands in place of the compressed plaintext."""
    made_context = EncryptionContext.of(context) if context else NO_CONTEXT
    nonce = stream(f"nonce of {name}", CIPHERS[cipher].NONCE_PREFIX + CIPHERS[cipher].NONCE_REST)
    type_tag = f"{inner_type}+{cipher}"
    flags = (FLAG_ZSTD if packed else 0) | (FLAG_BOUND if location else 0)
    front = bytes([1, flags]) + KEY.id
    encoded_claims = encode_claims(claims or {})
    tail = (pl(encoded_claims) if location else b"") + pl(made_context.encoded)
    encoded_location = lps(location) if location else b""
    sealer = Sealer(KEY, cipher=cipher, compression="zstd" if packed else None)
    vector: Vector = {
        "name": name,
        "key_text": KEY.to_text(),
        "key_id": KEY.id.hex(),
        "cipher": cipher,
        "inner_type": inner_type,
        "type_tag": type_tag,
        "context": dict(made_context.pairs),
        "context_encoded": made_context.encoded.hex(),
        "location": location,
        "location_encoded": encoded_location.hex(),
        "claims": claims if location else None,
        "claims_encoded": encoded_claims.hex(),
        "flags": flags,
        "front": front.hex(),
        "tail": tail.hex(),
        "data_key": KEY.derive("data-key", cipher.encode(), made_context.encoded).hex(),
        "nonce": nonce.hex(),
        "associated_data": (PROTOCOL + lp(type_tag.encode()) + front + lp(encoded_location) + tail).hex(),
        "plaintext": plaintext.hex(),
    }
    with fixed_nonce(sealer, made_context, nonce), mock.patch.object(sealer_module, "compress", return_value=packed):
        if location is None:
            vector["blob"] = sealer.seal(inner_type, plaintext, context=made_context)[1].hex()
        else:
            sealed = sealer.seal_bound(inner_type, plaintext, Binding.of(encoded_location, claims or {}), context=made_context)
            vector["blob"] = sealed[6 + len(type_tag) :].hex()
            vector["sealed_bytes"] = sealed.hex()
            vector["sealed_text"] = "es1." + b64url_encode(sealed)
    return vector

"""The values that must be refused: each a good one, changed in one way, with the class of the error."""

from __future__ import annotations

from typing import Any

from encrypted_serde.core.encoding import encode_pairs, lp

from .sealing import ACME, CLAIMS, KEY, LOCATION, OTHER_KEY, XAES, Vector, seal


def refused() -> list[Vector]:
    return [*_refused_blobs(), *_refused_contexts(), *_refused_type_tags(), *_refused_bound()]


def _refused_blobs() -> list[Vector]:
    vector = seal("to change", XAES, b"plaintext", inner_type="bytes", context=ACME)
    blob, header = bytes.fromhex(vector["blob"]), len(vector["header"]) // 2
    malformed, unsupported, failed = "MalformedEnvelope", "UnsupportedFormat", "AuthenticationFailed"
    cases = [
        ("empty", malformed, b""),
        ("version only", malformed, blob[:1]),
        ("version 0", malformed, b"\0" + blob[1:]),
        ("version 2", unsupported, b"\2" + blob[1:]),
        ("version 2 only", unsupported, b"\2"),
        ("flag bit 2", unsupported, b"\1\4" + blob[2:]),
        ("flag bit 7", unsupported, b"\1\x80" + blob[2:]),
        ("flag zstd set", failed, b"\1\1" + blob[2:]),
        ("cut inside the key id", malformed, blob[:20]),
        ("cut inside the length of the context", malformed, blob[:35]),
        ("cut inside the context", malformed, blob[: header - 1]),
        ("cut after the header", malformed, blob[:header]),
        ("cut inside the nonce", malformed, blob[: header + 23]),
        ("cut after the nonce", malformed, blob[: header + 24]),
        ("cut inside the tag", malformed, blob[: header + 24 + 15]),
        ("last byte cut", failed, blob[:-1]),
        ("byte appended", failed, blob + b"\0"),
        ("key id changed", "UnknownKey", _flip(blob, 2)),
        ("context value changed", failed, _flip(blob, header - 1)),
        ("first half of the nonce changed", failed, _flip(blob, header)),
        ("second half of the nonce changed", failed, _flip(blob, header + 12)),
        ("ciphertext changed", failed, _flip(blob, header + 24)),
        ("tag changed", failed, _flip(blob, len(blob) - 1)),
        ("length of the context too long", malformed, blob[:34] + b"\xff\xff" + blob[36:]),
        ("length of the context zero", failed, blob[:34] + b"\0\0" + blob[36:]),
    ]
    return [unbound_row(vector, name, error, blob=changed.hex()) for name, error, changed in cases]


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _refused_contexts() -> list[Vector]:
    vector = seal("to change", XAES, b"plaintext", inner_type="bytes", context=ACME)
    blob, header = bytes.fromhex(vector["blob"]), len(vector["header"]) // 2
    none = seal("without context", XAES, b"plaintext", inner_type="bytes")

    def pairs(*items: tuple[bytes, bytes]) -> bytes:
        return b"".join([lp(name) + lp(value) for name, value in items])

    encodings = {
        "out of order": pairs((b"b", b"1"), (b"a", b"2")),
        "doubled": pairs((b"a", b"1"), (b"a", b"1")),
        "name without a value": lp(b"a"),
        "bytes left over": pairs((b"a", b"1")) + b"\0",
        "not UTF-8": pairs((b"a", b"\xff")),
        "surrogate in UTF-8": pairs((b"a", b"\xed\xa0\x80")),
        "U+0000": pairs((b"a", b"\0")),
        "capital letter in the name": pairs((b"Tenant", b"acme")),
        "empty name": pairs((b"", b"acme")),
        "name of 65 characters": pairs((b"a" * 65, b"acme")),
        "empty value": pairs((b"a", b"")),
        "value of 1025 bytes": pairs((b"a", b"v" * 1025)),
        "17 pairs": pairs(*[(b"n%02d" % number, b"v") for number in range(17)]),
    }
    malformed = [
        unbound_row(vector, f"context: {name}", "MalformedEnvelope", blob=(blob[:34] + lp(encoded) + blob[header:]).hex())
        for name, encoded in encodings.items()
    ]
    wrong, other = "WrongContext", {"tenant_id": "globex"}
    return [
        *malformed,
        unbound_row(vector, "another context expected", wrong, expected_context=other),
        unbound_row(vector, "no context expected", wrong, expected_context={}),
        unbound_row(vector, "one pair more expected", wrong, expected_context={**ACME, "region": "eu"}),
        unbound_row(none, "a context expected, none there", wrong, expected_context=ACME),
        unbound_row(vector, "context before key", wrong, expected_context=other, key_texts=[OTHER_KEY.to_text()]),
        unbound_row(vector, "another key", "UnknownKey", key_texts=[OTHER_KEY.to_text()]),
    ]


def _refused_type_tags() -> list[Vector]:
    vector = seal("to change", XAES, b"plaintext", inner_type="bytes")
    cases = {
        "msgpack+xaes-256-gcm": "AuthenticationFailed",
        "pickle+xaes-256-gcm": "AuthenticationFailed",
        "bytes+x+xaes-256-gcm": "AuthenticationFailed",
        "bytes+aes-256-gcm": "AuthenticationFailed",
        "bytes+aes-256-eax": "AuthenticationFailed",
        "bytes+aes": "UnsupportedCipher",
        "bytes+": "UnsupportedCipher",
        "bytes+xaes-256-gcm+x": "UnsupportedCipher",
        "bytes": "PlaintextRefused",
        "": "PlaintextRefused",
        "+xaes-256-gcm": "MalformedEnvelope",
        "Bytes+xaes-256-gcm": "MalformedEnvelope",
        "bytes+xaes-256-gcm\n": "MalformedEnvelope",
        "b" * 20 + "+xaes-256-gcm": "MalformedEnvelope",
    }
    return [unbound_row(vector, f"type tag {tag!r}", error, type_tag=tag) for tag, error in cases.items()]


def _refused_bound() -> list[Vector]:
    vector = seal("to move", XAES, b"plaintext", inner_type="bytes", context=ACME, location=LOCATION, claims=CLAIMS)
    unbound = seal("to bind", XAES, b"plaintext", inner_type="bytes")
    data = bytes.fromhex(vector["sealed_bytes"])
    claims, other_version = encode_pairs(CLAIMS), {"version": "1"}
    surface, thread, namespace, channel = LOCATION

    def edited(encoded: bytes) -> str:
        return data.replace(lp(claims), lp(encoded)).hex()

    def relabelled(tag: bytes) -> str:
        return data.replace(lp(vector["type_tag"].encode()), lp(tag)).hex()

    places = {
        "another thread": [surface, "thread-2", namespace, channel],
        "another channel": [surface, thread, namespace, "other"],
        "another surface": ["write", thread, namespace, channel],
        "fields cut elsewhere": [surface, thread + "m", namespace, channel[1:]],
        "a field more": [surface, thread, namespace, channel, ""],
        "a field less": [surface, thread, namespace],
    }
    moved = [bound_row(vector, f"found at: {name}", "AuthenticationFailed", location=place) for name, place in places.items()]
    in_sealed_bytes = b"\xc1ES1" + lp(unbound["type_tag"].encode()) + bytes.fromhex(unbound["blob"])
    wrong, malformed, failed = "WrongLocation", "MalformedEnvelope", "AuthenticationFailed"
    doubled = b"".join([lp(b"a") + lp(b"1")] * 2)
    return [
        *moved,
        unbound_row(vector, "bound value where unbound ones belong", wrong),
        bound_row(vector, "unbound value where bound ones belong", wrong, sealed_bytes=in_sealed_bytes.hex()),
        bound_row(vector, "claim differs", wrong, known_claims=other_version),
        bound_row(vector, "claim absent", wrong, known_claims={**CLAIMS, "task_id": "t"}),
        bound_row(
            vector, "claim edited", failed, sealed_bytes=edited(encode_pairs({"version": "1"})), known_claims={"version": "1"}
        ),
        bound_row(vector, "claims removed", failed, sealed_bytes=edited(b""), known_claims={}),
        bound_row(vector, "claims doubled", malformed, sealed_bytes=edited(doubled)),
        bound_row(vector, "claims cut", malformed, sealed_bytes=data[: data.index(claims) + 5].hex()),
        bound_row(vector, "sealed bytes relabelled", failed, sealed_bytes=relabelled(b"msgpack+xaes-256-gcm")),
        bound_row(vector, "sealed bytes of an unknown cipher", "UnsupportedCipher", sealed_bytes=relabelled(b"bytes+aes")),
        bound_row(vector, "sealed bytes of another context", "WrongContext", expected_context={"tenant_id": "globex"}),
        bound_row(vector, "location before claims", failed, location=places["another thread"], known_claims=other_version),
    ]


def unbound_row(vector: Vector, name: str, error: str, **changes: Any) -> Vector:
    row = {
        "name": name,
        "error": error,
        "key_texts": [KEY.to_text()],
        "expected_context": None,
        "type_tag": vector["type_tag"],
        "blob": vector["blob"],
    }
    return {**row, **changes}


def bound_row(vector: Vector, name: str, error: str, **changes: Any) -> Vector:
    row = {
        "name": name,
        "error": error,
        "key_texts": [KEY.to_text()],
        "expected_context": None,
        "location": vector["location"],
        "known_claims": vector["claims"],
        "sealed_bytes": vector["sealed_bytes"],
    }
    return {**row, **changes}

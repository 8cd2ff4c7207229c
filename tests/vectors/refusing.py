"""The values that must be refused: each a good one, changed in one way, with the class of the error."""

from __future__ import annotations

from typing import Any

from encrypted_serde.core.claims import encode_claims
from encrypted_serde.core.encoding import lp, pl

from .sealing import ACME, CLAIMS, KEY, LOCATION, OTHER_KEY, TASK_ID, WRITE, XAES, Vector, seal


def refused() -> list[Vector]:
    return [*_refused_blobs(), *_refused_contexts(), *_refused_type_tags(), *_refused_bound()]


def _refused_blobs() -> list[Vector]:
    vector = seal("to change", XAES, b"plaintext", inner_type="bytes", context=ACME)
    blob, end = bytes.fromhex(vector["blob"]), -len(vector["tail"]) // 2
    context, whole = len(vector["context_encoded"]) // 2, len(vector["blob"]) // 2
    malformed, unsupported, failed = "MalformedEnvelope", "UnsupportedFormat", "AuthenticationFailed"
    cases = [
        ("empty", malformed, b""),
        ("version only", malformed, blob[:1]),
        ("version 0", malformed, b"\0" + blob[1:]),
        ("version 2", unsupported, b"\2" + blob[1:]),
        ("version 2 only", unsupported, b"\2"),
        ("version and flags only", malformed, blob[:2]),
        ("flag bit 2", unsupported, b"\1\4" + blob[2:]),
        ("flag bit 7", unsupported, b"\1\x80" + blob[2:]),
        ("flag bit 2 only", unsupported, b"\1\4"),
        ("flag zstd set", failed, b"\1\1" + blob[2:]),
        ("cut inside the key id", malformed, blob[:20]),
        ("front only", malformed, blob[:34]),
        ("front and a length", malformed, blob[:34] + b"\0\0"),
        ("front and tail only", malformed, blob[:34] + blob[end:]),
        ("nonce cut short", malformed, blob[: 34 + 23] + blob[end:]),
        ("nonce and tail only", malformed, blob[: 34 + 24] + blob[end:]),
        ("tag cut short", malformed, blob[: 34 + 24 + 15] + blob[end:]),
        ("ciphertext cut", failed, blob[: 34 + 24 + 16] + blob[end:]),
        ("first byte of the tail cut", malformed, blob[:end] + blob[end + 1 :]),
        ("last byte cut", malformed, blob[:-1]),
        ("tail cut", malformed, blob[:end]),
        ("byte appended", malformed, blob + b"\0"),
        ("empty context appended", failed, blob + b"\0\0"),
        ("byte put in before the tail", failed, blob[:end] + b"\0" + blob[end:]),
        ("key id changed", "UnknownKey", _flip(blob, 2)),
        ("context value changed", failed, _flip(blob, whole - 3)),
        ("first half of the nonce changed", failed, _flip(blob, 34)),
        ("second half of the nonce changed", failed, _flip(blob, 34 + 12)),
        ("ciphertext changed", failed, _flip(blob, 34 + 24)),
        ("tag changed", failed, _flip(blob, whole + end - 1)),
        ("length of the context of two FF", malformed, blob[:-2] + b"\xff\xff"),
        ("length of the context one too small", malformed, blob[:-2] + (context - 1).to_bytes(2, "big")),
        ("length of the context one too large", malformed, blob[:-2] + (context + 1).to_bytes(2, "big")),
        ("length of the context zero", failed, blob[:-2] + b"\0\0"),
        ("length of the context up to the nonce", malformed, blob[:-2] + (whole - 36).to_bytes(2, "big")),
        ("length of the context into the front", malformed, blob[:-2] + (whole - 35).to_bytes(2, "big")),
        ("length of the context is that of the blob", malformed, blob[:-2] + whole.to_bytes(2, "big")),
    ]
    return [unbound_row(vector, name, error, blob=changed.hex()) for name, error, changed in cases]


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _refused_contexts() -> list[Vector]:
    vector = seal("to change", XAES, b"plaintext", inner_type="bytes", context=ACME)
    blob, end = bytes.fromhex(vector["blob"]), -len(vector["tail"]) // 2
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
        unbound_row(vector, f"context: {name}", "MalformedEnvelope", blob=(blob[:end] + pl(encoded)).hex())
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
    end, behind = -len(vector["tail"]) // 2, pl(bytes.fromhex(vector["context_encoded"]))
    claims, other_version = pl(encode_claims(CLAIMS)), {"version": "1"}
    surface, thread, namespace, channel = LOCATION

    def with_tail(tail: bytes) -> str:
        return (data[:end] + tail).hex()

    def edited(encoded: bytes) -> str:
        return with_tail(pl(encoded) + behind)

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
    bad_claims = {**malformed_claims(), "cut": encode_claims(WRITE)[:-1]}
    front = 6 + len(vector["type_tag"])
    lengths = {
        "no claims": behind,
        "length of the claims cut": claims[-1:] + behind,
        "length of the claims of two FF": claims[:-2] + b"\xff\xff" + behind,
        "length of the claims one too large": claims[:-2] + len(claims).to_bytes(2, "big") + behind,
        "length of the claims up to the nonce": claims[:-2]
        + (len(data) - front - 34 - 2 - len(behind)).to_bytes(2, "big")
        + behind,
        "length of the claims into the front": claims[:-2] + (len(data) - front - 2 - len(behind)).to_bytes(2, "big") + behind,
        "context before the claims": behind + claims,
        "context twice": claims + behind + behind,
    }
    return [
        *moved,
        unbound_row(vector, "bound value where unbound ones belong", wrong),
        bound_row(vector, "unbound value where bound ones belong", wrong, sealed_bytes=in_sealed_bytes.hex()),
        bound_row(vector, "claim differs", wrong, known_claims=other_version),
        bound_row(vector, "claim absent", wrong, known_claims={**CLAIMS, "task_id": "t"}),
        bound_row(
            vector, "claim edited", failed, sealed_bytes=edited(encode_claims({"version": "1"})), known_claims={"version": "1"}
        ),
        bound_row(vector, "claims removed", failed, sealed_bytes=edited(b""), known_claims={}),
        bound_row(vector, "claims of another kind", failed, sealed_bytes=edited(encode_claims(WRITE)), known_claims={}),
        *(
            bound_row(vector, f"claims: {name}", malformed, sealed_bytes=edited(encoded))
            for name, encoded in bad_claims.items()
        ),
        *(bound_row(vector, f"tail: {name}", malformed, sealed_bytes=with_tail(tail)) for name, tail in lengths.items()),
        bound_row(vector, "sealed bytes relabelled", failed, sealed_bytes=relabelled(b"msgpack+xaes-256-gcm")),
        bound_row(vector, "sealed bytes of an unknown cipher", "UnsupportedCipher", sealed_bytes=relabelled(b"bytes+aes")),
        bound_row(vector, "sealed bytes of another context", "WrongContext", expected_context={"tenant_id": "globex"}),
        bound_row(vector, "location before claims", failed, location=places["another thread"], known_claims=other_version),
    ]


def malformed_claims() -> dict[str, bytes]:
    """Claims that no writer writes, by what is wrong with them."""
    task_id, checkpoint_id = b"\0" + bytes.fromhex(TASK_ID.replace("-", "")), b"\2c"
    task, call = task_id + checkpoint_id + b"\0", bytes(8)
    good = task + call
    return {
        "kind 0": b"\0",
        "kind 5": b"\5" + good + bytes(3),
        "version is not UTF-8": b"\1\xff",
        "byte left over": b"\2" + good + b"\0\1\1\0",
        "number missing": b"\2" + good + b"\0\1",
        "kind alone": b"\2",
        "number of two bytes that fits one": b"\2" + good + b"\x80\0\1\1",
        "number of 2^32": b"\2" + good + b"\x80\x80\x80\x80\x10\1\1",
        "number of six bytes": b"\2" + good + b"\x80\x80\x80\x80\x80\1\1\1",
        "number that does not end": b"\2" + good + b"\xff" * 40,
        "UUID as text": b"\2" + b"\x25" + TASK_ID.encode() + checkpoint_id + b"\0" + call + b"\0\1\1",
        "UUID cut": b"\2" + task_id[:12],
        "length of a name too large": b"\2" + task_id + b"\xff\xff\x03c\0" + call + b"\0\1\1",
        "length of a path too large": b"\2" + task_id + checkpoint_id + b"\xff\xff\xff\xff\x0f" + call + b"\0\1\1",
        "path is not UTF-8": b"\2" + task_id + checkpoint_id + b"\1\xff" + call + b"\0\1\1",
        "surrogate in a name": b"\2" + task_id + b"\4\xed\xa0\x80\0" + call + b"\0\1\1",
        "special write at position 0": b"\3" + good + b"\0",
        "special write with a batch": b"\3" + good + b"\4\1\1",
        "a kind that is not known": b"\4" + checkpoint_id + b"\0\1",
    }


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

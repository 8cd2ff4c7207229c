"""Where the fuzzer starts: the test vectors, good and bad, in the shape that each target takes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from encrypted_serde.core.format import Sealed, sealed_text

from .targets import VECTORS

_MSGPACK = [
    bytes.fromhex(one)
    for one in (
        "80", "93010203", "81a161c0", "c7040561626364", "c70907c406c1455331000b", "d40501", "cb3ff8000000000000",
        "81c4016101", "dc0010" + "01" * 16, "c702649200",
        "d4ff05",
    )
]  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """Gives the seeds of a target by its name in `TARGETS`."""
    return list(_SEEDS[target]())


def _values() -> Iterator[tuple[str, bytes]]:
    for group in ("sealed", "refused", "zstd", "zstd_refused", "manifests"):
        for one in VECTORS[group]:
            if "blob" in one:
                yield one["type_tag"], bytes.fromhex(one["blob"])


def _typed() -> Iterator[bytes]:
    for type_tag, stored in _values():
        yield type_tag.encode("utf-8", "surrogateescape") + b"\0" + stored


def _sealed() -> Iterator[bytes]:
    for group in ("sealed", "refused", "manifests"):
        for one in VECTORS[group]:
            if "sealed_bytes" in one:
                yield bytes.fromhex(one["sealed_bytes"])


def _texts() -> Iterator[bytes]:
    for one in _sealed():
        yield sealed_text(one).encode()


def _claims() -> Iterator[bytes]:
    for one in VECTORS["sealed"]:
        yield bytes.fromhex(one["claims_encoded"])
    for one in VECTORS["refused"]:
        if one["name"].startswith("claims: "):
            yield Sealed.of_bytes(bytes.fromhex(one["sealed_bytes"])).encoded_claims


def _legacy() -> Iterator[bytes]:
    for one in VECTORS["legacy"]:
        yield one["type_tag"].removesuffix("+aes").encode() + b"\0" + bytes.fromhex(one["blob"])


def _gate() -> Iterator[bytes]:
    yield from (b"msgpack\0" + one for one in _MSGPACK)
    yield from (b"bytes\0" + one for one in _sealed())
    yield from (b"msgpack+aes\0" + one.partition(b"\0")[2] for one in _legacy())
    yield from _typed()


def _cells() -> Iterator[bytes]:
    yield from _gate()
    for one in _texts():
        text = one.decode()
        yield b"json\0" + json.dumps({"channel_values": {"a": text, "b": 1}, "pending_sends": [text]}).encode()
        yield b"json\0" + json.dumps({"es1": text, "source": "loop", "user": "es1s." + "A" * 22}).encode()


def _keys() -> Iterator[bytes]:
    for one in VECTORS["key_texts"]:
        yield from (one["text"].encode(), one["secret"].encode(), bytes.fromhex(one["secret"]))
    for one in VECTORS["key_texts_refused"]:
        yield one["text"].encode("utf-8", "surrogatepass")


def _contexts() -> Iterator[bytes]:
    for one in VECTORS["sealed"]:
        yield bytes.fromhex(one["context_encoded"])
    yield b"tenant_id\0acme\0region\0eu"


_SEEDS = {
    "blob": _typed,
    "sealed_bytes": _sealed,
    "text": _texts,
    "claims": _claims,
    "legacy": _legacy,
    "gate": _gate,
    "inert": lambda: iter(_MSGPACK),
    "cell": _cells,
    "key_text": _keys,
    "context": _contexts,
}

"""Makes v1.json, the frozen test vectors of wire format version 1. Run ``python -m tests.vectors.generate``.

The file is frozen: run this only to *add* vectors, and look at the diff. Everything is deterministic but the zstd frames, which
depend on the version of zstd; rows that exist in the file keep theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as UpstreamSerializer

from encrypted_serde import Key
from encrypted_serde.core.ciphers import CIPHERS
from encrypted_serde.core.compression import compress
from encrypted_serde.core.context import EncryptionContext
from encrypted_serde.core.encoding import b64url_encode, lp
from encrypted_serde.rows.manifest import Manifest, digest
from encrypted_serde.wrapping.search import search_token

from .refusing import refused, unbound_row
from .sealing import (
    ACME,
    CHECKPOINT_ID,
    CLAIMS,
    EAX,
    GCM,
    KEY,
    LOCATION,
    OTHER_KEY,
    TASK_ID,
    WRITE,
    XAES,
    Vector,
    seal,
    stream,
)

FILE = Path(__file__).with_name("v1.json")


def key_texts() -> list[Vector]:
    keys = [KEY, OTHER_KEY, Key.from_bytes(bytes(range(32))), Key.from_bytes(bytes(range(224, 256)))]
    return [{"text": key.to_text(), "secret": _secret(key).hex(), "key_id": key.id.hex()} for key in keys]


def _secret(key: Key) -> bytes:
    return key._secret


def key_texts_refused() -> list[Vector]:
    text = KEY.to_text()
    bad_check = "esk1-" + b64url_encode(_secret(KEY) + bytes(4))
    zeros = "esk1-" + b64url_encode(bytes(32) + stream("check", 4))
    printable = "esk1-" + b64url_encode(b"0123456789abcdefghijklmnopqrstuv" + stream("check", 4))
    refused = {
        "empty": "",
        "prefix only": "esk1-",
        "cut by one character": text[:-1],
        "one character more": text + "A",
        "last character changed": text[:-1] + ("A" if text[-1] != "A" else "B"),
        "two characters swapped": text[:10] + text[11] + text[10] + text[12:],
        "wrong prefix": "esk2-" + text[5:],
        "prefix in capitals": "ESK1-" + text[5:],
        "white space around": f" {text}\n",
        "padded": text + "=",
        "wrong checksum": bad_check,
        "all zero": zeros,
        "printable text": printable,
    }
    return [{"name": name, "text": text} for name, text in refused.items()]


def sealed() -> list[Vector]:
    hello = bytes.fromhex("81a568656c6c6fa5776f726c64")  # msgpack of {"hello": "world"}
    many = {f"name{number:02}": "v" * (number + 1) for number in range(16)}
    vectors = []
    for cipher in CIPHERS:
        bound = {"location": LOCATION, "claims": CLAIMS}
        vectors += [
            seal(f"{cipher}, unbound", cipher, hello),
            seal(f"{cipher}, unbound, context", cipher, hello, context=ACME),
            seal(f"{cipher}, unbound, empty plaintext", cipher, b"", inner_type="null"),
            seal(f"{cipher}, unbound, 1000 bytes", cipher, stream("plaintext", 1000), inner_type="bytes"),
            seal(f"{cipher}, bound", cipher, hello, **bound),
            seal(f"{cipher}, bound, context", cipher, hello, context=ACME, **bound),
            seal(f"{cipher}, bound, no claims", cipher, hello, location=LOCATION, claims={}),
            seal(f"{cipher}, bound, empty plaintext", cipher, b"", inner_type="null", **bound),
        ]
    at_write = ["write", "thread-1", "", "messages"]
    special = {"task_id": TASK_ID, "checkpoint_id": CHECKPOINT_ID, "task_path": "", "alone": "f" * 16, "idx": -4}
    odd = {"task_id": TASK_ID.upper(), "checkpoint_id": "", "task_path": "Grüße \U0001f511" * 20, "batch": "0" * 16}
    odd |= {"idx": 127, "size": 1 << 14, "of": (1 << 32) - 1}
    return [
        *vectors,
        seal("inner type with a plus", XAES, hello, inner_type="json+v2"),
        seal("16 pairs of context", XAES, hello, context=many),
        seal("longest context value", XAES, hello, context={"a" * 64: "\u00e9" * 512}),
        seal("context names in byte order", XAES, hello, context={"b": "2", "a.b": "1", "a_b": "3", "a-b": "4", "ab": "5"}),
        seal(
            "any text in location and version", XAES, hello, location=["value", "", "a\0b", "Grüße"], claims={"version": "a\0ü"}
        ),
        seal("empty version", XAES, hello, location=LOCATION, claims={"version": ""}),
        seal("a write", XAES, hello, location=at_write, claims=WRITE),
        seal("a write, context", XAES, hello, context=ACME, location=at_write, claims=WRITE),
        seal("a write whose ids are no UUIDs, large numbers", XAES, hello, location=at_write, claims=odd),
        seal("a special write", XAES, hello, location=["write", "thread-1", "", "__resume__"], claims=special),
    ]


def zstd() -> list[Vector]:
    text = b"The same sentence, many times. " * 40
    packed = compress(text)
    return [
        seal("zstd, unbound", XAES, text, inner_type="bytes", packed=packed),
        seal("zstd, bound", GCM, text, inner_type="bytes", context=ACME, location=LOCATION, claims=CLAIMS, packed=packed),
    ]


def zstd_refused() -> list[Vector]:
    text = b"The same sentence, many times. " * 40
    packed = compress(text)
    bomb = compress(bytes(10_000_000))
    size = len(text).to_bytes(8, "big")
    plaintexts = {
        "no length": b"\x00" * 7,
        "length only": size,
        "length over the limit": ((1 << 30) + 1).to_bytes(8, "big") + packed[8:],
        "length of eight FF": b"\xff" * 8 + packed[8:],
        "length one too small": (len(text) - 1).to_bytes(8, "big") + packed[8:],
        "length one too large": (len(text) + 1).to_bytes(8, "big") + packed[8:],
        "frame expands far beyond the length": size + bomb[8:],
        "frame cut": packed[:-1],
        "byte after the frame": packed + b"\0",
        "second frame": packed + packed[8:],
        "no frame": size + b"not a zstd frame",
    }
    refused = []
    for name, plaintext in plaintexts.items():
        vector = seal(f"zstd: {name}", XAES, text, inner_type="bytes", packed=plaintext)
        refused.append(unbound_row(vector, f"zstd: {name}", "MalformedEnvelope"))
    return refused


def not_sealed() -> dict[str, list[str]]:
    magic = b"\xc1ES1"
    tags = [b"", b"hello", b"msgpack", b"Msgpack+xaes-256-gcm", b"m" * 20 + b"+xaes-256-gcm", b"msgpack+xaes\xff"]
    as_bytes = [b"", b"hello", magic, magic + b"\0", magic + b"\0\x20short", *[magic + lp(tag) + b"rest" for tag in tags]]
    sealed_text = seal("text", EAX, b"", inner_type="null", location=LOCATION, claims={})["sealed_text"]
    last = sealed_text[-1]
    as_text = [
        "",
        "es1.",
        "es1.hello",
        "es1." + b64url_encode(b"hello"),
        sealed_text + "=",
        sealed_text + " ",
        sealed_text + "AA",
        sealed_text[:-1] + chr(ord(last) + 1),  # an unused bit set
        sealed_text[:40] + "\n" + sealed_text[40:],
        sealed_text.replace("-", "+").replace("_", "/"),
        "ES1." + sealed_text[4:],
    ]
    return {"bytes": [data.hex() for data in as_bytes], "text": as_text}


def legacy() -> list[Vector]:
    values: dict[str, Any] = {"msgpack": {"hello": "world"}, "bytes": b"\x00\x01binary", "null": None}
    rows = []
    for mode, number in (("EAX", AES.MODE_EAX), ("GCM", AES.MODE_GCM)):
        for size in (16, 24, 32):
            for inner_type, value in values.items():
                label = f"legacy {mode} {size} {inner_type}"
                key = stream(f"key of {label}", size)
                upstream = UpstreamSerializer.from_pycryptodome_aes(key=key, mode=number, nonce=stream(f"nonce of {label}", 16))
                type_tag, blob = upstream.dumps_typed(value)
                _, plaintext = upstream.serde.dumps_typed(value)
                fields = {"mode": mode, "key": key.hex(), "type_tag": type_tag}
                rows.append({"name": label, **fields, "plaintext": plaintext.hex(), "blob": blob.hex()})
    return rows


def manifests() -> list[Vector]:
    checkpoint = {
        "v": 4,
        "ts": "2026-01-02T03:04:05.678901+00:00",
        "id": "1f0e7a3c-0000-6000-8000-000000000001",
        "channel_versions": {"messages": "00000000000000000000000000000002.0.5", "Grüße": 3.0, "flag": 2},
        "versions_seen": {"__input__": {}, "node": {"branch:to:node": "1"}},
        "updated_channels": ["messages"],
    }
    counters = {"long": "x" * 40, "integers": [0, 127, 128, 255, 256, 65536, -1, -32, -33, -129, 1 << 32, -(1 << 40)]}
    others = {"floats": [0.5, 2.0, -3.0], "none": None, "yes": True, "many": list(range(20)), "text": "Grüße \U0001f511" * 30}
    metadata = {"source": "loop", "step": 1, "parents": {}, "counters_since_delta_snapshot": counters, "readable": others}
    old = {**checkpoint, "v": 3, "channel_versions": {"messages": 2, "__pregel_tasks": 7}}
    rows = []
    for name, stored, parent in [("first of its thread", checkpoint, None), ("another format", old, "parent-id")]:
        private = ("msgpack", bytes.fromhex("81a7757365725f6964a26a6f"))  # {"user_id": "jo"}
        manifest = Manifest(stored["id"], parent, ["flag", "messages"], ["Grüße"], private, digest(stored, metadata))
        location = ["manifest", "thread-1", "", stored["id"]]
        row = seal(f"manifest: {name}", XAES, manifest.pack(), context=ACME, location=location, claims={})
        content = [*manifest[:4], [private[0], private[1].hex()], manifest.digest.hex()]
        rows.append({**row, "content": content, "checkpoint": stored, "readable_metadata": metadata})
    return rows


def search_tokens() -> list[Vector]:
    rows = []
    for value in ("jo", "Grüße \U0001f511", "1", 1, True, -(1 << 60), ""):
        for context in ({}, ACME):
            token = search_token(KEY, "user_id", EncryptionContext.of(context), value)
            rows.append(
                {"key_text": KEY.to_text(), "metadata_key": "user_id", "context": context, "value": value, "token": token}
            )
    return rows


def database_keys() -> list[Vector]:
    names = ("production", "staging", "Grüße \U0001f511", "x" * 1024)
    made = [(name, KEY.for_database(name)) for name in names]
    return [
        {"key_text": KEY.to_text(), "name": name, "secret": _secret(key).hex(), "key_id": key.id.hex()} for name, key in made
    ]


LISTS: dict[str, Callable[[], Any]] = {
    "key_texts": key_texts,
    "key_texts_refused": key_texts_refused,
    "database_keys": database_keys,
    "sealed": sealed,
    "refused": refused,
    "manifests": manifests,
    "search_tokens": search_tokens,
    "not_sealed": not_sealed,
    "legacy": legacy,
}
"""What is the same in every run."""

ZSTD_LISTS: dict[str, Callable[[], Any]] = {"zstd": zstd, "zstd_refused": zstd_refused}
"""What depends on the version of zstd."""


def main() -> None:
    """Writes the file. zstd rows that it already holds are kept as they are."""
    frozen = json.loads(FILE.read_text()) if FILE.exists() else {}
    vectors = {"about": "encrypted-serde wire format version 1; see docs/format.md. Frozen: rows are added, never changed."}
    vectors |= {name: make() for name, make in LISTS.items()}
    for name, make in ZSTD_LISTS.items():
        kept = {row["name"]: row for row in frozen.get(name, [])}
        vectors[name] = [kept.get(row["name"], row) for row in make()]
    FILE.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""A stored value is the same to the saver, which gets it from its gate, and to maintenance, which gets it from SQL."""

from __future__ import annotations

from random import Random
from typing import Any

import ormsgpack

from encrypted_serde import Key, Sealer
from encrypted_serde.core import binding
from encrypted_serde.core.binding import Place
from encrypted_serde.core.format import sealed_text
from encrypted_serde.rows.stored import Stored, find_typed
from encrypted_serde.saver.found import stored
from encrypted_serde.wrapping.admission import Admission
from encrypted_serde.wrapping.gate import Gate
from encrypted_serde.wrapping.inert import FOREIGN

SEALER = Sealer(Key.generate())
GATE = Gate(Admission(SEALER))
SEALED = SEALER.seal_bound("msgpack", b"\x01", binding.value(Place.of("thread", ""), "channel", "1"))
UNBOUND = SEALER.seal("msgpack", b"\x01")[1]
SHORTEST = Sealer(Key.generate(), cipher="aes-256-gcm").seal_bound("a", b"", binding.manifest(Place.of("t", ""), ""))
TAGS = ("msgpack",) * 6 + ("bytes", "bytes", "null", "json", "", "empty", "msgpack+aes", "msgpack+xaes-256-gcm")
PARTS = (
    b"",
    b"\xc0",
    b"es1.",
    b"es1.AAAA",
    b"\xc1ES1",
    UNBOUND,
    sealed_text(SEALED).encode(),
    *map(
        ormsgpack.packb,
        ([1], {"a": 1}, "es1.AAAA", sealed_text(SHORTEST)[:31], ("null", b""), ("bytes", SEALED), ("msgpack", b"\xc0")),
    ),
)


def _with_length(rng: Random, heads: tuple[int, int, int], data: bytes, code: bytes = b"") -> bytes:
    """Packs bytes behind their length, which need not be as short as it can be."""
    fitting = [size for size in (0, 1, 2) if len(data) < 1 << (8 << size)]
    size = rng.choice(fitting)
    return bytes([heads[size]]) + len(data).to_bytes(1 << size, "big") + code + data


def _extension(rng: Random, data: bytes) -> bytes:
    code = bytes([rng.choice((7, 7, 7, FOREIGN, 5))])
    fixed = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}
    if len(data) in fixed and rng.random() < 0.5:
        return bytes([fixed[len(data)]]) + code + data
    return _with_length(rng, (0xC7, 0xC8, 0xC9), data, code)


def _blob(rng: Random, depth: int = 0) -> bytes:
    kind = rng.random()
    if depth > 3 or kind < 0.3:
        return SEALED
    if kind < 0.4:
        return rng.choice(PARTS)
    inside, kind = _blob(rng, depth + 1), rng.random()
    if kind < 0.3:
        return _extension(rng, inside)
    if kind < 0.5:
        return _with_length(rng, (0xC4, 0xC5, 0xC6), inside)
    if kind < 0.7:
        return _with_length(rng, (0xD9, 0xDA, 0xDB), inside)
    if kind < 0.8:
        return inside + b"\0"
    changed = bytearray(inside or b"\0")
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed) if kind < 0.9 else bytes(changed)[: rng.randrange(len(changed))]


def _says(found: Stored) -> Any:
    is_delta = found.is_delta if found.sealed is not None else None
    return found.form.kind, found.is_bound, is_delta, type(found.error).__name__, found.type_tag.partition("+")[1]


def test_saver_and_maintenance_find_the_same() -> None:
    kinds = set()
    for seed in range(6000):
        rng = Random(seed)
        type_tag, blob = rng.choice(TAGS), _blob(rng)
        found = _says(find_typed(type_tag, blob, len(blob)))
        assert found == _says(stored(GATE.loads_typed((type_tag, blob)))), (seed, type_tag, blob)
        kinds.add(found)
    assert len(kinds) > 8

"""What each surface stores is read by the independent reader alone, which was written from docs/format.md."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedCache, EncryptedSaver, EncryptedStore, Key, encryption_context
from encrypted_serde.core import format as package_format
from encrypted_serde.wrapping.serialize import dumps_as_json_would, loads
from tests.independent_reader import (
    Cursor,
    Opened,
    Refused,
    cache_key,
    canonical_msgpack,
    manifest_digest,
    normal_form,
    open_value,
    parse_key_text,
    parse_msgpack,
    parse_sealed_bytes,
    parse_sealed_text,
    pseudonym,
    split_names,
)
from tests.saver.threads import make_checkpoint

ACME = {"tenant_id": "acme"}
BIG = 1 << 70


@pytest.fixture
def secret(key: Key) -> bytes:
    found = parse_key_text(key.to_text())
    assert found is not None
    return found


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as opened:
        yield opened


def read(secret: bytes, stored: Any, *location: str, **claims: str) -> Opened:
    parsed = parse_sealed_text(stored) if isinstance(stored, str) else parse_sealed_bytes(stored)
    assert parsed is not None
    return open_value([secret], *parsed, location=[*location], known_claims=claims)


def unpacked(data: bytes) -> Any:
    cursor = Cursor(data)
    value = parse_msgpack(cursor)
    assert cursor.data == b""
    return value


# rules F-20, F-21, F-28, F-29, F-30
def test_a_checkpoint_in_a_database(key: Key, secret: bytes, connection: sqlite3.Connection) -> None:
    saver = EncryptedSaver(SqliteSaver(connection), key)
    written = make_checkpoint(1, {"log": [1, "two"], "nothing": None}, {"log": 3.0, "nothing": 1})
    config: Any = {"configurable": {"thread_id": "one", "checkpoint_ns": "ns"}, "metadata": {"user": "alice", "n": BIG}}
    saver.put(config, written, {"source": "loop", "step": 7}, {})
    [(thread, namespace, checkpoint_id, parent, blob, metadata)] = connection.execute(
        "SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata FROM checkpoints"
    )
    checkpoint, readable = unpacked(blob), json.loads(metadata)
    log = read(secret, checkpoint["channel_values"]["log"], "value", thread, namespace, "log", version="3")
    assert (log.inner_type, unpacked(log.plaintext)) == ("msgpack", [1, "two"])
    manifest = read(secret, readable.pop("es1"), "manifest", thread, namespace, checkpoint_id)
    identity, parent_id, values, nones, (inner_type, private), digest = unpacked(manifest.plaintext)
    assert (identity, parent_id, values, nones) == (checkpoint["id"], parent, ["log"], ["nothing"])
    # rule F-22: msgpack holds no int of 71 bits
    assert (inner_type, json.loads(private)) == ("es-json", {"user": "alice", "n": BIG})
    assert manifest_digest(checkpoint, readable) == digest
    _, verified = unpacked(normal_form(checkpoint, readable))
    assert verified == {"source": "loop", "step": 7}


# rule F-31
@pytest.mark.parametrize("exact", [4.0, True, "4", None])
def test_what_is_no_exact_integer_is_malformed(exact: object) -> None:
    checkpoint = {"v": 4, "channel_versions": {}}
    for row in (({**checkpoint, "v": exact}, {}), (checkpoint, {"step": exact})):
        with pytest.raises(Refused, match="MalformedEnvelope"):
            manifest_digest(*row)


# rules F-20, F-23, F-25
def test_the_writes_of_a_task_in_a_database(key: Key, secret: bytes, connection: sqlite3.Connection) -> None:
    saver = EncryptedSaver(SqliteSaver(connection), key)
    stored = saver.put({"configurable": {"thread_id": "one", "checkpoint_ns": ""}}, make_checkpoint(1, {}, {}), {}, {})
    saver.put_writes(stored, [("a", 1), ("b", 2), ("a", 3)], "task", "~path")
    saver.put_writes(stored, [("__interrupt__", "ask")], "task", "~path")
    here = stored["configurable"]["checkpoint_id"]
    rows = connection.execute("SELECT channel, idx, value FROM writes ORDER BY idx").fetchall()
    claims = [
        read(secret, value, "write", "one", "", channel, task_id="task", checkpoint_id=here, task_path="~path", idx=idx).claims
        for channel, idx, value in rows
    ]
    special, *ordinary = claims
    assert [(each["size"], each["of"]) for each in ordinary] == [(3, 2), (3, 1), (3, 2)]
    assert len({each["batch"] for each in ordinary}) == 1
    assert not {"batch", "size", "of"} & set(special)
    assert len(special["alone"]) == len(ordinary[0]["batch"]) == 16


# rule F-22
def test_what_msgpack_does_not_hold_is_json() -> None:
    serde = TakesNothing()
    inner_type, plaintext = dumps_as_json_would(serde, {"n": BIG, "text": "ü"}, "a value")
    assert (inner_type, json.loads(plaintext.decode("ascii"))) == ("es-json", {"n": BIG, "text": "ü"})
    assert loads(serde, inner_type, plaintext) == {"n": BIG, "text": "ü"}


class TakesNothing:
    """A serializer that takes nothing."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        raise OverflowError

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        raise AssertionError("it is not asked")


# rules F-20, F-38
def test_an_item_of_a_store(key: Key, secret: bytes) -> None:
    inner = InMemoryStore()
    EncryptedStore(inner, key, readable=("kind",)).put(("users", "alice"), "plan", {"kind": "free", "n": 5})
    stored = inner.get(("users", "alice"), "plan")
    assert stored is not None
    opened = read(secret, stored.value["es1"], "item", "users", "alice", "plan")
    assert unpacked(opened.plaintext) == {"kind": "free", "n": 5}
    assert stored.value["kind"] == "free"


# rule F-39
def test_an_item_under_pseudonyms(key: Key, secret: bytes) -> None:
    inner = InMemoryStore()
    with encryption_context(ACME):
        EncryptedStore(inner, key, pseudonymous_names=True).put(("users", "alice"), "plan", {"n": 5})
    labels = [pseudonym(secret, ACME, [label]) for label in ("users", "alice")]
    name = pseudonym(secret, ACME, ["users", "alice"], "plan")
    stored = inner.get(tuple(labels), name)
    assert stored is not None
    opened = read(secret, stored.value["es1"], "item", *labels, name)
    namespace, of, value = split_names(opened.plaintext)
    assert (opened.inner_type, namespace, of, unpacked(value)) == ("named.msgpack", ["users", "alice"], "plan", {"n": 5})
    for label in ("users", "alice"):
        [entry] = [each for each in inner.search(("es1",)) if each.key == pseudonym(secret, ACME, [label])]
        assert unpacked(read(secret, entry.value["es1"], "item", "es1", entry.key).plaintext) == {"label": label}


# rules F-20, F-40
def test_an_entry_of_a_cache(key: Key, secret: bytes) -> None:
    inner = InMemoryCache()
    with encryption_context(ACME):
        EncryptedCache(inner, key).set({(("node", "one"), "k"): ([1, 2], None)})
    name = cache_key(secret, ACME, ["node", "one"], "k")
    found = inner._cache["node", "one"][name]
    assert unpacked(read(secret, found[1], "entry", "node", "one", name).plaintext) == [1, 2]


# rules F-20, F-41
def test_what_the_handlers_of_agent_server_store(key: Key, secret: bytes) -> None:
    from encrypted_serde.agent_server.codec import Codec
    from encrypted_serde.agent_server.tokens import RUN, Tokens
    from encrypted_serde.core.context import EncryptionContext
    from encrypted_serde.core.sealer import Sealer
    from encrypted_serde.wrapping.admission import Admission

    context = EncryptionContext.of(ACME)
    sealer = Sealer(key)
    codec = Codec(sealer, Admission(sealer))
    value = read(secret, codec.seal_json({"name": {"n": 5}}, context)["name"], "json", "name")
    assert (value.inner_type, json.loads(value.plaintext), value.context) == ("json", {"n": 5}, ACME)
    blob = read(secret, codec.seal_blob(b"data", context), "blob")
    assert (blob.inner_type, blob.plaintext) == ("bytes", b"data")
    token = read(secret, Tokens(sealer.keys).issue(RUN, context), "context")
    assert (token.inner_type, token.context) == ("context", ACME)
    assert re.fullmatch(rb"run 1\d{9}", token.plaintext)


# rule F-14
def test_the_largest_value() -> None:
    assert package_format.MAX_PLAINTEXT == (1 << 31) - 17


# rule T-1
def test_equal_values_do_not_look_equal(key: Key) -> None:
    from encrypted_serde import EncryptedSerializer

    serde = EncryptedSerializer(key)
    blobs = [serde.dumps_typed("the same text")[1] for _ in range(200)]
    ends = {blob[-29:] for blob in blobs}  # ciphertext and tag
    assert len(ends) == len(blobs)


def test_the_reader_of_msgpack_reads_what_its_writer_wrote() -> None:
    values = [
        0,
        127,
        128,
        -1,
        -32,
        -33,
        255,
        256,
        65536,
        1 << 40,
        -(1 << 40),
        0.5,
        "",
        "x" * 31,
        "x" * 32,
        "ü" * 300,
        None,
        True,
    ]
    for value in (values, {str(n): n for n in range(20)}, [[]] * 70000, "x" * 70000):
        assert unpacked(canonical_msgpack(value)) == value

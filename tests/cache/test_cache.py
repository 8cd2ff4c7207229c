"""A cache of node results that nobody who has it can read, and that never makes a run fail."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.redis import RedisCache
from langgraph.cache.sqlite import SqliteCache
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy

from encrypted_serde import (
    ConfigurationError,
    EncryptedCache,
    EncryptedSerializer,
    Key,
    Keyring,
    KeyServiceError,
    WrongContext,
    encryption_context,
)
from encrypted_serde.audit import AuditEvent
from tests.tampering import changed

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # RedisCache calls it

NAMESPACE = ("__pregel_ns_writes", "node")
AT = (NAMESPACE, "0123456789abcdef")
OTHER = (NAMESPACE, "fedcba9876543210")


@pytest.fixture(scope="module")
def redis_client() -> Iterator[Any]:
    """A client of a real Redis, started for the tests."""
    redis = pytest.importorskip("redis")
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server")
    with tempfile.TemporaryDirectory(prefix="es-redis-") as directory:
        socket = Path(directory) / "redis.sock"
        process = subprocess.Popen(
            [server, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", directory], stdout=subprocess.DEVNULL
        )
        try:
            while not socket.exists():
                time.sleep(0.02)
            client = redis.Redis(unix_socket_path=str(socket))
            yield client
            client.close()
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(params=["InMemory", "Sqlite", "Redis"])
def inner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseCache[Any]]:
    if request.param == "InMemory":
        yield InMemoryCache()
    elif request.param == "Sqlite":
        yield SqliteCache(path=str(tmp_path / "cache.sqlite"))
    else:
        client = request.getfixturevalue("redis_client")
        client.flushall()
        yield RedisCache(client)


def stored(inner: BaseCache[Any]) -> dict[str, tuple[str, bytes]]:
    """Gives what stands in a cache: type and bytes of each entry, by its key."""
    if isinstance(inner, InMemoryCache):
        return {key: entry[:2] for entries in inner._cache.values() for key, entry in entries.items()}
    if isinstance(inner, SqliteCache):
        return {key: (tag, blob) for key, tag, blob in inner._conn.execute("SELECT key, encoding, val FROM cache")}
    found = {key.decode().rpartition(":")[2]: inner.redis.get(key).partition(b":") for key in inner.redis.keys("*")}
    return {key: (tag.decode(), blob) for key, (tag, _, blob) in found.items()}


def overwrite(inner: BaseCache[Any], key: str, tag: str, blob: bytes) -> None:
    """Writes an entry as somebody does who has the cache and no key."""
    if isinstance(inner, InMemoryCache):
        inner._cache[NAMESPACE][key] = (tag, blob, None)
    elif isinstance(inner, SqliteCache):
        inner._conn.execute("UPDATE cache SET encoding = ?, val = ? WHERE key = ?", (tag, blob, key))
        inner._conn.commit()
    else:
        inner.redis.set(inner._make_key(NAMESPACE, key), tag.encode() + b":" + blob)


def test_values_come_back(inner: BaseCache[Any], key: Key) -> None:
    cache = EncryptedCache(inner, key)
    cache.set({AT: ({"a": [1, b"x"]}, None), OTHER: (None, 60)})
    assert cache.get([AT, OTHER, (NAMESPACE, "missing")]) == {AT: {"a": [1, b"x"]}, OTHER: None}
    assert EncryptedCache(inner, key).get([AT]) == {AT: {"a": [1, b"x"]}}


async def test_they_do_asynchronously(inner: BaseCache[Any], key: Key) -> None:
    cache = EncryptedCache(inner, key)
    await cache.aset({AT: ("x" * 300_000, None)})
    assert await cache.aget([AT]) == {AT: "x" * 300_000}
    await cache.aclear([NAMESPACE])
    assert await cache.aget([AT]) == {}


def test_neither_values_nor_keys_can_be_read(inner: BaseCache[Any], key: Key) -> None:
    EncryptedCache(inner, key).set({AT: ("S3CRET", None)})
    ((name, (tag, blob)),) = stored(inner).items()
    assert tag == "bytes"
    assert b"S3CRET" not in blob
    assert AT[1] not in name


def test_the_inner_cache_is_as_it_was(inner: BaseCache[Any], key: Key) -> None:
    cache = EncryptedCache(inner, key)
    cache.set({AT: (1, None)})
    del cache
    inner.set({OTHER: ({"plain": True}, None)})
    assert inner.get([OTHER]) == {OTHER: {"plain": True}}


def test_time_to_live_and_clear_are_those_of_the_inner_cache(inner: BaseCache[Any], key: Key) -> None:
    cache = EncryptedCache(inner, key)
    cache.set({AT: (1, 100), (("other",), "k"): (2, None)})
    cache.clear([NAMESPACE])
    assert cache.get([AT, (("other",), "k")]) == {(("other",), "k"): 2}
    cache.clear()
    assert stored(inner) == {}
    if not isinstance(inner, RedisCache):
        cache.set({AT: (1, -1)})
        assert cache.get([AT]) == {}


def _pickle(blobs: dict[str, bytes], name: str) -> tuple[str, bytes]:
    return "pickle", b"cos\nsystem\n(S'false'\ntR."


def _constructor(blobs: dict[str, bytes], name: str) -> tuple[str, bytes]:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer().dumps_typed(Path("/"))


def _other_entry(blobs: dict[str, bytes], name: str) -> tuple[str, bytes]:
    return "bytes", next(blob for other, blob in blobs.items() if other != name)


CHANGES = {
    "one bit": (lambda blobs, name: ("bytes", changed(blobs[name])), "AuthenticationFailed"),
    "cut": (lambda blobs, name: ("bytes", blobs[name][:20]), "MalformedEnvelope"),
    "another entry": (_other_entry, "AuthenticationFailed"),
    "never sealed": (lambda blobs, name: ("bytes", b"hello"), "MalformedEnvelope"),
    "another type": (lambda blobs, name: ("msgpack", b"\xa5hello"), "PlaintextRefused"),
    "pickle": (_pickle, "PlaintextRefused"),
    "an object": (_constructor, "PlaintextRefused"),
}


def test_what_the_plain_cache_does_not_take_is_refused_and_never_stored_as_something_else(
    inner: BaseCache[Any], key: Key
) -> None:
    for cache in (inner, EncryptedCache(inner, key)):
        with pytest.raises(TypeError):
            cache.set({AT: ({1: 1 << 70, "pair": (1, 2)}, None)})  # JSON takes it, and returns a text for the number


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_open_is_a_miss_and_audited(
    inner: BaseCache[Any], key: Key, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[AuditEvent] = []
    cache = EncryptedCache(inner, key, audit=events.append)
    cache.set({AT: ("mine", None)})
    name = next(iter(stored(inner)))
    cache.set({OTHER: ("other", None)})
    blobs = {key: blob for key, (_, blob) in stored(inner).items()}
    edit, error = CHANGES[change]
    overwrite(inner, name, *edit(blobs, name))
    events.clear()
    with caplog.at_level(logging.WARNING):
        assert cache.get([AT, OTHER]) == {OTHER: "other"}
    assert [event.outcome for event in events if event.action == "refuse"] == [error]
    assert "mine" not in caplog.text


def test_another_key_is_a_miss(inner: BaseCache[Any]) -> None:
    old, new = Key.generate(), Key.generate()
    EncryptedCache(inner, old).set({AT: (1, None)})
    assert EncryptedCache(inner, new).get([AT]) == {}
    assert EncryptedCache(inner, Keyring(primary=new, decrypt_only=[old])).get([AT]) == {}


def test_tenants_share_nothing(inner: BaseCache[Any], key: Key) -> None:
    cache = EncryptedCache(inner, key, required_context=("tenant_id",))
    with encryption_context(tenant_id="acme"):
        cache.set({AT: ("acme", None)})
    with encryption_context(tenant_id="globex"):
        assert cache.get([AT]) == {}
        cache.set({AT: ("globex", None)})
    with encryption_context(tenant_id="acme"):
        assert cache.get([AT]) == {AT: "acme"}
    with pytest.raises(ConfigurationError, match="tenant_id"):
        cache.set({AT: (1, None)})
    assert cache.get([AT]) == {}


async def test_reading_can_require_a_context(inner: BaseCache[Any], key: Key) -> None:
    cache = EncryptedCache(inner, key, require_context_to_read=True)
    with pytest.raises(WrongContext, match="require_context_to_read"):
        cache.get([AT])
    with pytest.raises(WrongContext, match="require_context_to_read"):
        await cache.aget([AT])
    with encryption_context():
        assert cache.get([AT]) == {}


HOSTILE_ROWS = {
    "an expiry that is no time": "expiry = 'soon'",
    "text that is no UTF-8": "val = CAST(x'ff' AS TEXT)",
    "no type": "encoding = x'00'",
    "a number": "val = 5",
    "another type": "encoding = 'msgpack'",
}


@pytest.mark.parametrize("row", HOSTILE_ROWS)
async def test_a_row_that_no_cache_wrote_is_a_miss_and_the_others_are_found(row: str, key: Key) -> None:
    events: list[AuditEvent] = []
    inner: SqliteCache[Any] = SqliteCache(path=":memory:")
    cache = EncryptedCache(inner, key, audit=events.append)
    cache.set({AT: (1, None)})
    inner._conn.execute(f"UPDATE cache SET {HOSTILE_ROWS[row]}")
    cache.set({OTHER: (2, None)})
    events.clear()
    assert cache.get([AT, OTHER]) == {OTHER: 2}
    assert await cache.aget([AT, OTHER]) == {OTHER: 2}
    assert [event.action for event in events].count("refuse") == 2


def test_a_value_whose_class_raises_what_it_likes_is_a_miss(inner: BaseCache[Any], key: Key) -> None:
    class Serde:
        def dumps_typed(self, value: Any) -> tuple[str, bytes]:
            return "bytes", b"x"

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            raise RecursionError

    cache = EncryptedCache(inner, key, serde=Serde())
    cache.set({AT: (1, None)})
    assert cache.get([AT]) == {}


def test_a_database_that_fails_is_no_miss(key: Key) -> None:
    inner: SqliteCache[Any] = SqliteCache(path=":memory:")
    inner._conn.close()
    with pytest.raises(sqlite3.ProgrammingError):
        EncryptedCache(inner, key).get([AT])


class Remote:
    """A provider that may ask a service, and can be out of reach."""

    def __init__(self, key: Key) -> None:
        self.key, self.gone = key, False

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        if self.gone:
            raise KeyServiceError("out of reach", retryable=True)
        return self.key

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        return self.encryption_key(context)


async def test_a_key_service_out_of_reach_makes_no_run_fail(inner: BaseCache[Any], key: Key) -> None:
    events: list[AuditEvent] = []
    provider = Remote(key)
    cache = EncryptedCache(inner, provider, audit=events.append)
    await cache.aset({AT: (1, None)})
    assert await cache.aget([AT]) == {AT: 1}
    provider.gone = True
    assert await cache.aget([AT]) == {}
    await cache.aset({OTHER: (2, None)})
    provider.gone = False
    assert await cache.aget([AT, OTHER]) == {AT: 1}
    assert [event.outcome for event in events if event.action == "refuse"] == ["KeyServiceError"] * 2


@pytest.mark.parametrize("wrong", [None, "cache", InMemoryCache])
def test_only_a_cache_is_wrapped(wrong: Any, key: Key) -> None:
    with pytest.raises(TypeError):
        EncryptedCache(wrong, key)
    with pytest.raises(TypeError):
        EncryptedCache(EncryptedCache(InMemoryCache(), key), key)


def test_an_encrypting_serializer_of_the_inner_cache_is_no_second_layer(key: Key) -> None:
    inner: BaseCache[Any] = InMemoryCache(serde=EncryptedSerializer(key))
    cache = EncryptedCache(inner, key)
    cache.set({AT: ("x", None)})
    assert cache.get([AT]) == {AT: "x"}
    assert not isinstance(cache.serde, EncryptedSerializer)


class State(TypedDict, total=False):
    ssn: str
    result: str


def test_a_graph_runs_a_cached_node_once_and_runs_it_again_after_tampering(inner: BaseCache[Any], key: Key) -> None:
    ran: list[str] = []

    def costly(state: State) -> State:
        ran.append(state["ssn"])
        return {"result": f"checked {state['ssn']}"}

    builder = StateGraph(State)
    builder.add_node("costly", costly, cache_policy=CachePolicy(ttl=60))
    builder.add_edge(START, "costly")
    graph = builder.compile(cache=EncryptedCache(inner, key))
    for _ in range(2):
        assert graph.invoke({"ssn": "078-05-1120"})["result"] == "checked 078-05-1120"
    assert ran == ["078-05-1120"]
    assert all(b"078-05" not in blob for _, blob in stored(inner).values())
    if isinstance(inner, SqliteCache):
        inner._conn.execute("UPDATE cache SET encoding = 'msgpack', val = x'c0'")
        inner._conn.commit()
        assert graph.invoke({"ssn": "078-05-1120"})["result"] == "checked 078-05-1120"
        assert len(ran) == 2
        graph.clear_cache()
        assert stored(inner) == {}

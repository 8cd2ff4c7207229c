"""`required_context` and `require_context_to_read` mean the same on every surface: the table in docs/keys.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, NamedTuple

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from encrypted_serde import (
    ConfigurationError,
    EncryptedCache,
    EncryptedSaver,
    EncryptedSerializer,
    EncryptedStore,
    Key,
    WrongContext,
    encryption_context,
)

CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
OF_CHECKPOINT: Any = {"configurable": {**CONFIG["configurable"], "checkpoint_id": "1"}}
ACME = {"tenant_id": "acme"}


class NoKeys:
    """A provider that must not be asked."""

    asked = 0

    def __init__(self, key: Key) -> None:
        self.key = key

    def encryption_key(self, context: Mapping[str, str]) -> Key:
        self.asked += 1
        return self.key

    def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
        self.asked += 1
        return self.key


class Surface(NamedTuple):
    """How a surface is made, written with and read with."""

    make: Callable[..., Any]
    write: Callable[[Any], Any]
    read: Callable[[Any, Any], Any]


def put(saver: EncryptedSaver) -> Any:
    checkpoint: Any = {**empty_checkpoint(), "v": 4, "channel_values": {"a": "x"}, "channel_versions": {"a": "1"}}
    return saver.put(CONFIG, checkpoint, {"source": "loop", "step": 1}, {"a": "1"})


def new_task() -> str:
    """A saver passes over writes that it has already."""
    return f"task {next(_numbers)}"


_numbers = count()
INNER_STORE, INNER_CACHE, INNER_SAVER = InMemoryStore, InMemoryCache, InMemorySaver
SURFACES = {
    "EncryptedSerializer": Surface(
        lambda inner, keys, **options: EncryptedSerializer(keys, **options),
        lambda serde: serde.dumps_typed("x"),
        lambda serde, written: serde.loads_typed(written),
    ),
    "EncryptedSaver": Surface(EncryptedSaver, put, lambda saver, _: saver.get_tuple(CONFIG)),
    "EncryptedSaver, list": Surface(EncryptedSaver, put, lambda saver, _: list(saver.list(CONFIG))),
    "EncryptedSaver, writes": Surface(
        EncryptedSaver,
        lambda saver: saver.put_writes(
            {"configurable": {**CONFIG["configurable"], "checkpoint_id": "1"}}, [("a", 1)], new_task()
        ),
        lambda saver, _: put_and_get(saver),
    ),
    "EncryptedStore": Surface(
        EncryptedStore, lambda store: store.put(("n",), "k", {"a": 1}), lambda store, _: store.get(("n",), "k")
    ),
    "EncryptedStore, search": Surface(
        EncryptedStore, lambda store: store.put(("n",), "k", {"a": 1}), lambda store, _: store.search(("n",))
    ),
    "EncryptedCache": Surface(
        EncryptedCache,
        lambda cache: cache.set({(("n",), "k"): (1, None)}),
        lambda cache, _: cache.get([(("n",), "k")]),
    ),
}


def put_and_get(saver: EncryptedSaver) -> Any:
    put(EncryptedSaver(saver.inner, saver._wiring.sealer.keys))
    return saver.get_tuple(CONFIG)


def inner_of(name: str) -> Any:
    return INNER_SAVER() if "Saver" in name else INNER_STORE() if "Store" in name else INNER_CACHE()


@pytest.mark.parametrize("name", SURFACES)
def test_required_context_is_required_to_write_and_not_to_read(name: str, key: Key) -> None:
    surface, inner = SURFACES[name], inner_of(name)
    written = surface.write(surface.make(inner, key))
    keys = NoKeys(key)
    strict = surface.make(inner, keys, required_context=("tenant_id",))
    with pytest.raises(ConfigurationError, match="tenant_id"):
        surface.write(strict)
    for pairs in ({}, {"other": "x"}):
        with encryption_context(pairs), pytest.raises(ConfigurationError, match="tenant_id"):
            surface.write(strict)
    assert keys.asked == 0
    surface.read(strict, written)
    with encryption_context(ACME):
        surface.write(strict)


@pytest.mark.parametrize("name", SURFACES)
def test_require_context_to_read_is_about_reading_alone(name: str, key: Key) -> None:
    surface, inner = SURFACES[name], inner_of(name)
    keys = NoKeys(key)
    strict = surface.make(inner, keys, require_context_to_read=True)
    written = surface.write(strict)  # under no context
    asked = keys.asked
    with pytest.raises(WrongContext):
        surface.read(strict, written)
    if name != "EncryptedSaver, writes":
        assert keys.asked == asked
    with encryption_context({}):
        surface.read(strict, written)

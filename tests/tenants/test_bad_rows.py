"""Rows of the key store that are none, and a key store that is away: one kind of error, for one tenant alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import (
    EncryptedCache,
    EncryptedSerdeError,
    EncryptedStore,
    Key,
    KeyServiceError,
    LocalKeyWrapper,
    TenantKeyring,
    encryption_context,
)
from encrypted_serde.asgi import status_of
from encrypted_serde.core.context import EncryptionContext
from encrypted_serde.tenants.records import StoredKey, namespace_of
from encrypted_serde.tenants.rewrap import rewrap_all
from encrypted_serde.tenants.store import KeyStore

TENANTS = [{"tenant_id": name} for name in ("acme", "globex", "initech")]


class KeyDatabase:
    """A key store in SQLite, for SQL to change."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.store = SqliteStore(connection)
        self.store.setup()
        self.old, self.new = LocalKeyWrapper(Key.generate()), LocalKeyWrapper(Key.generate())
        for tenant in TENANTS:
            TenantKeyring(self.store, self.old).encryption_key(tenant)

    @property
    def acme(self) -> str:
        return ".".join(namespace_of(EncryptionContext.of(TENANTS[0])))

    def insert(self, prefix: str, key: str, value: bytes) -> None:
        """Adds a row that comes first in every listing."""
        row = (prefix, key, value, "2099-01-01 00:00:00", "2099-01-01 00:00:00")
        self.connection.execute("INSERT INTO store (prefix, key, value, created_at, updated_at) VALUES (?, ?, ?, ?, ?)", row)

    def moving(self) -> TenantKeyring:
        return TenantKeyring(self.store, self.new, unwrap_only=[self.old])

    def served(self) -> list[str]:
        """Names the tenants that the new wrapper serves alone."""
        keys, found = TenantKeyring(self.store, self.new), []
        for tenant in TENANTS:
            try:
                keys.encryption_key(tenant)
                found.append(tenant["tenant_id"])
            except EncryptedSerdeError:
                pass
        return found


@pytest.fixture
def database() -> Iterator[KeyDatabase]:
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    yield KeyDatabase(connection)
    connection.close()


CHANGES = {
    "the key is bytes": "UPDATE store SET key = x'ff00' WHERE prefix = ?",
    "no time": "UPDATE store SET created_at = 'yesterday' WHERE prefix = ?",
    "no JSON": "UPDATE store SET value = x'7b' WHERE prefix = ?",
    "a list": "UPDATE store SET value = x'5b5d' WHERE prefix = ?",
    "a namespace below": "INSERT INTO store (prefix, key, value) SELECT prefix || '.x', key, x'ff' FROM store WHERE prefix = ?",
    "generation 2^70": "UPDATE store SET value = json_set(value, '$.generation', 1180591620717411303424) WHERE prefix = ?",
    "generation true": "UPDATE store SET value = json_set(value, '$.generation', json('true')) WHERE prefix = ?",
    "generation 2": "UPDATE store SET value = json_set(value, '$.generation', 2) WHERE prefix = ?",
    "context is a text": "UPDATE store SET value = json_set(value, '$.context', 'x') WHERE prefix = ?",
    "no proof": "UPDATE store SET value = json_remove(value, '$.proof') WHERE prefix = ?",
    "another proof": "UPDATE store SET value = json_set(value, '$.proof', 'AAAA') WHERE prefix = ?",
    "a forged line": "UPDATE store SET value = json_set(value, '$.wrapper', 'x' || char(10) || 'y') WHERE prefix = ?",
}


@pytest.mark.parametrize("sql", CHANGES.values(), ids=CHANGES)
def test_a_row_that_is_no_key_is_a_key_service_error_of_its_tenant_alone(database: KeyDatabase, sql: str) -> None:
    database.connection.execute(sql, (database.acme,))
    keys = TenantKeyring(database.store, database.old)
    with pytest.raises(KeyServiceError) as caught:
        keys.encryption_key(TENANTS[0])
    assert not caught.value.retryable
    assert not isinstance(caught.value, (ValueError, LookupError))
    assert str(caught.value).isprintable()
    assert caught.value.__cause__ is None
    assert keys.encryption_key(TENANTS[1])


@pytest.mark.parametrize("sql", CHANGES.values(), ids=CHANGES)
def test_rewrap_says_what_it_could_not_do_and_does_the_rest(database: KeyDatabase, sql: str) -> None:
    database.connection.execute(sql, (database.acme,))
    with pytest.raises(KeyServiceError, match="the old key is still needed") as caught:
        database.moving().rewrap()
    assert str(caught.value).isprintable()
    assert database.served()[-2:] == ["globex", "initech"]


@pytest.mark.parametrize("context", [{"tenant_id": "nobody"}, TENANTS[1], {}])
def test_a_made_up_row_does_not_hide_a_tenant_from_rewrap(database: KeyDatabase, context: Any) -> None:
    made_up = {"format": 1, "context": context, "generation": 1, "wrapper": "x", "wrapped": "", "proof": ""}
    database.insert(database.acme, "key-" + "00" * 32, json.dumps(made_up).encode())
    for _ in range(2):
        with pytest.raises(KeyServiceError, match="3 keys were wrapped anew"):
            database.moving().rewrap()
    database.connection.execute("DELETE FROM store WHERE key = ?", ("key-" + "00" * 32,))
    assert database.served() == ["acme", "globex", "initech"]
    assert database.moving().rewrap() == 3


def test_a_namespace_of_nobody_does_not_end_rewrap(database: KeyDatabase) -> None:
    database.insert("encrypted_serde_keys.0", "hello", b'{"x": 1}')
    with pytest.raises(KeyServiceError, match="3 keys were wrapped anew"):
        database.moving().rewrap()
    database.connection.execute("DELETE FROM store WHERE prefix = 'encrypted_serde_keys.0'")
    assert database.served() == ["acme", "globex", "initech"]


def test_what_rewrap_could_not_do_may_be_retried_if_a_service_was_away(database: KeyDatabase) -> None:
    def away(context: EncryptionContext, stored: StoredKey) -> bool:
        raise KeyServiceError("the service is away", retryable=True)

    assert rewrap_all([], away) == 0
    with pytest.raises(KeyServiceError, match="3 x the service is away") as caught:
        rewrap_all(KeyStore(database.store).everything(), away)
    assert caught.value.retryable


def test_a_key_store_that_is_away_is_an_outage(database: KeyDatabase) -> None:
    keys = TenantKeyring(database.store, database.old)
    store, cache = EncryptedStore(InMemoryStore(), keys), EncryptedCache(InMemoryCache(), keys)
    database.connection.close()
    with encryption_context(TENANTS[0]):
        with pytest.raises(KeyServiceError) as caught:
            store.put(("n",), "k", {"a": 1})
        assert caught.value.retryable
        assert status_of(caught.value) == 503
        assert cache.get([(("n",), "k")]) == {}  # the run goes on
        cache.set({(("n",), "k"): (1, None)})
    for call in (keys.rotate, keys.erase, keys.current_key_id):
        with pytest.raises(KeyServiceError):
            call(TENANTS[0])
    with pytest.raises(KeyServiceError):
        keys.rewrap()

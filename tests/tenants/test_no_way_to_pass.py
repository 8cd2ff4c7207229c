"""Ways to have prove-erased pass for a tenant that is alive, or whose data can still be read. None of them works."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import (
    ConfigurationError,
    EncryptedSaver,
    EncryptedStore,
    Key,
    KeyErased,
    Keyring,
    encryption_context,
)
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.maintenance import DatabaseFailed, prove_erased
from encrypted_serde.tenants.keyring import TenantKeyring

ACME = {"tenant_id": "acme"}
CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}


class World(NamedTuple):
    """An application with its key store."""

    database: Path
    store: InMemoryStore
    wrapper: LocalKeyWrapper
    keys: TenantKeyring

    def put(self, keys: Any = None, **options: Any) -> None:
        """Stores a checkpoint of acme."""
        with closing(sqlite3.connect(self.database)) as connection, encryption_context(ACME):
            saver = EncryptedSaver(SqliteSaver(connection), keys or self.keys, **options)
            checkpoint: Any = {**empty_checkpoint(), "v": 4, "channel_values": {"a": "x"}, "channel_versions": {"a": "1"}}
            saver.put(CONFIG, checkpoint, {"source": "loop", "step": 1, "team": "acme's"}, {"a": "1"})  # type: ignore[typeddict-unknown-key]

    def wrapped_items(self) -> list[Any]:
        return [item for item in self.store.search(("encrypted_serde_keys",)) if item.key.startswith("key-")]

    def item(self, **options: Any) -> None:
        """Stores an item of acme."""
        with SqliteStore.from_conn_string(str(self.database)) as inner, encryption_context(ACME):
            inner.setup()
            EncryptedStore(inner, self.keys, **options).put(("memories",), "k", {"text": "acme's secret", "city": "Zurich"})

    def verdict(self, key_ids: Any, keys: Any = None) -> tuple[str, str]:
        proof = prove_erased(self.database, keys or self.keys, key_ids)
        document = proof.document()
        return document["verdict"], "; ".join(document["reasons"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    store, wrapper = InMemoryStore(), LocalKeyWrapper(Key.generate())
    made = World(tmp_path / "app.db", store, wrapper, TenantKeyring(store, wrapper))
    made.put()
    return made


def test_an_honest_erasure_passes(world: World) -> None:
    assert world.verdict(world.keys.erase(ACME).tombstones) == ("passed", "")


def test_keys_of_the_environment_prove_nothing(world: World) -> None:
    tombstones = world.keys.erase(ACME).tombstones
    with pytest.raises(ConfigurationError, match="TenantKeyring"):
        world.verdict(tombstones, Keyring(primary=Key.generate()))


def test_a_living_key_is_no_erasure(world: World) -> None:
    verdict, reasons = world.verdict([world.keys.encryption_key(ACME).id])
    assert verdict == "failed"
    for reason in ("can be read", "no tombstone", "still stored wrapped", "in use"):
        assert reason in reasons


def test_another_key_store_is_no_witness(world: World) -> None:
    other = TenantKeyring(InMemoryStore(), world.wrapper)
    verdict, reasons = world.verdict([world.keys.encryption_key(ACME).id], other)
    assert verdict == "failed"
    assert "no tombstone" in reasons
    assert "never knew" in reasons


def test_a_key_that_still_stands_in_the_key_store_is_no_erasure(world: World) -> None:
    [item] = world.wrapped_items()
    erased = world.keys.erase(ACME)
    world.store.put(item.namespace, item.key, item.value)  # from a backup of the key store
    assert world.verdict(erased.tombstones) == ("failed", "1 of these keys are still stored wrapped in the key store")


def test_a_key_brought_back_past_its_tombstone_is_no_erasure(world: World) -> None:
    [item] = world.wrapped_items()
    erased = world.keys.erase(ACME)
    world.store.put(item.namespace, item.key, {**item.value, "generation": 9})
    assert world.verdict(erased.tombstones)[0] == "failed"


def test_nothing_is_no_proof(world: World, tmp_path: Path) -> None:
    erased = world.keys.erase(ACME)
    elsewhere = world._replace(database=tmp_path / "other.db")
    elsewhere.put(Keyring(primary=Key.generate()))
    assert elsewhere.verdict(erased.tombstones)[0] == "failed"


def test_made_up_keys_are_no_erasure(world: World) -> None:
    assert "no tombstone" in world.verdict([Key.generate().id])[1]


def test_a_tenant_that_was_written_to_again_is_in_use(world: World) -> None:
    erased = world.keys.erase(ACME)
    world.put()
    verdict, reasons = world.verdict(erased.tombstones)
    assert verdict == "failed"
    assert "in use" in reasons
    assert "under other keys" in reasons


def test_a_part_of_the_keys_of_a_tenant_is_no_erasure(world: World) -> None:
    first = world.keys.erase(ACME)
    world.put()
    second = world.keys.encryption_key(ACME).id
    assert world.verdict([*first.tombstones, second])[0] == "failed"


def test_a_copy_of_the_key_among_those_from_before_tenants_is_found(world: World) -> None:
    key = world.keys.encryption_key(ACME)
    erased = world.keys.erase(ACME)
    kept = TenantKeyring(world.store, world.wrapper, decrypt_only=[key])
    assert "can be read" in world.verdict(erased.tombstones, kept)[1]
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("DELETE FROM checkpoints")
    assert "can be read" in "; ".join(prove_erased(world.database, kept, erased.tombstones, allow_empty=True).reasons())


def test_a_provider_that_says_what_one_likes_to_hear_is_none(world: World) -> None:
    class Liar:
        def encryption_key(self, context: Mapping[str, str]) -> Key:
            raise KeyErased("", b"")

        def decryption_key(self, key_id: bytes, context: Mapping[str, str]) -> Key:
            raise KeyErased("", key_id)

    with pytest.raises(ConfigurationError):
        world.verdict([world.keys.encryption_key(ACME).id], Liar())


def test_an_item_of_the_key_store_that_cannot_be_looked_at_is_no_proof(world: World) -> None:
    [item] = world.wrapped_items()
    erased = world.keys.erase(ACME)
    world.store.put(item.namespace, "key-" + "00" * 32, {"format": 2})
    with pytest.raises(ConfigurationError, match="could not be looked at"):
        world.verdict(erased.tombstones)


def test_readable_metadata_is_an_objection(world: World) -> None:
    world.put(readable_metadata=("team",))
    erased = world.keys.erase(ACME)
    assert world.verdict(erased.tombstones) == ("failed", "readable beside these values: 1 metadata key team")
    assert prove_erased(world.database, world.keys, erased.tombstones, readable_metadata=("team",)).reasons() == []


def test_readable_copies_of_fields_are_an_objection(world: World) -> None:
    world.item(readable=("city",))
    assert "1 readable field city" in world.verdict(world.keys.erase(ACME).tombstones)[1]


def test_vectors_are_an_objection(world: World) -> None:
    world.item()
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("CREATE TABLE store_vectors (prefix text, key text, field_name text, embedding blob)")
        connection.execute("INSERT INTO store_vectors VALUES ('memories', 'k', 'text', x'00')")
        connection.execute("INSERT INTO store_vectors VALUES ('memories', 'of somebody else', 'text', x'00')")
    assert "1 vectors" in world.verdict(world.keys.erase(ACME).tombstones)[1]


def test_vectors_that_cannot_be_counted_are_no_proof(world: World) -> None:
    world.item()
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("CREATE VIEW store_vectors AS SELECT prefix, key FROM gone")
    with pytest.raises(DatabaseFailed):
        world.verdict(world.keys.erase(ACME).tombstones)


def test_plaintext_of_the_same_thread_is_an_objection(world: World) -> None:
    with closing(sqlite3.connect(world.database)) as connection:
        saver = SqliteSaver(connection)
        saver.put_writes({"configurable": {**CONFIG["configurable"], "checkpoint_id": "1"}}, [("a", "acme's secret")], "task")
    assert "values in the same threads that we did not seal" in world.verdict(world.keys.erase(ACME).tombstones)[1]


def test_values_of_another_serializer_in_the_same_thread_are_an_objection(world: World) -> None:
    with closing(sqlite3.connect(world.database)) as connection, connection:
        place = {"configurable": {**CONFIG["configurable"], "checkpoint_id": "1"}}
        SqliteSaver(connection).put_writes(place, [("a", "acme's secret")], "task")
        connection.execute("UPDATE writes SET type = 'msgpack+aes', value = randomblob(64)")
    assert "we did not seal" in world.verdict(world.keys.erase(ACME).tombstones)[1]


def test_values_of_the_same_thread_under_a_key_from_before_tenants_are_an_objection(world: World) -> None:
    before = Key.generate()
    with closing(sqlite3.connect(world.database)) as connection:
        checkpoint: Any = {**empty_checkpoint(), "v": 4, "channel_values": {"a": "x"}, "channel_versions": {"a": "1"}}
        EncryptedSaver(SqliteSaver(connection), before).put(CONFIG, checkpoint, {"source": "loop", "step": 0}, {"a": "1"})
    erased = world.keys.erase(ACME)
    assert world.verdict(erased.tombstones) == ("passed", "")  # the keyring does not have that key
    kept = TenantKeyring(world.store, world.wrapper, decrypt_only=[before])
    assert "are under other keys, and can be read" in world.verdict(erased.tombstones, kept)[1]


@pytest.mark.parametrize("change", [lambda world: world.put(), lambda world: world.keys.encryption_key(ACME)])
def test_every_objection_goes_when_its_cause_does(world: World, change: Callable[[World], Any]) -> None:
    world.keys.erase(ACME)
    change(world)
    assert world.verdict(world.keys.erase(ACME).tombstones) == ("passed", "")

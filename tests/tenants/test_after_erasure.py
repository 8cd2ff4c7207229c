"""After an erasure: lists pass over rows under destroyed keys, they can be removed, and one tenant's keys end no run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import EncryptedSaver, EncryptedStore, Key, KeyErased, KeyServiceError, encryption_context
from encrypted_serde.audit import AuditEvent
from encrypted_serde.core.encoding import b64url_decode, b64url_encode
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.kms.per_tenant import PerTenantWrapper
from encrypted_serde.maintenance import expire_erased, reencrypt, verify
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.tenants.services import CountingWrapper

ACME, GLOBEX = {"tenant_id": "acme"}, {"tenant_id": "globex"}


class Application:
    """A checkpointer with tenants."""

    def __init__(self, inner: BaseCheckpointSaver[Any], place: str, wrapper: Any) -> None:
        self.place, self.wrapper = place, wrapper
        self.store = InMemoryStore()
        self.events: list[AuditEvent] = []
        self.keys = TenantKeyring(self.store, wrapper)
        self.saver = EncryptedSaver(inner, self.keys, audit=self.events.append)

    def put(self, tenant: dict[str, str], thread: str) -> str:
        with encryption_context(tenant):
            checkpoint: Any = {**empty_checkpoint(), "v": 4, "channel_values": {"a": "x", "b": [1]}}
            versions = dict.fromkeys("ab", checkpoint["id"])  # LangGraph never counts twice the same
            checkpoint["channel_versions"] = versions
            config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
            stored = self.saver.put(config, checkpoint, {"source": "loop", "step": 1}, versions)
            self.saver.put_writes(stored, [("a", "written")], "task")
            return str(stored["configurable"]["checkpoint_id"])

    def ids(self, tenant: dict[str, str], thread: str | None = None, **options: Any) -> list[str]:
        config: Any = {"configurable": {"thread_id": thread}} if thread else None
        with encryption_context(tenant):
            return [found.config["configurable"]["checkpoint_id"] for found in self.saver.list(config, **options)]


@pytest.fixture(params=["sqlite", "postgres"])
def app(request: pytest.FixtureRequest, tmp_path: Path, wrapper: CountingWrapper) -> Iterator[Application]:
    if request.param == "sqlite":
        with SqliteSaver.from_conn_string(str(tmp_path / "app.db")) as inner:
            yield Application(inner, str(tmp_path / "app.db"), wrapper)
        return
    dsn = request.getfixturevalue("postgres_database")
    with PostgresSaver.from_conn_string(dsn) as saver:
        saver.setup()
        yield Application(saver, dsn, wrapper)


def test_an_erased_tenant_that_is_written_to_again_is_not_blocked_by_its_old_rows(app: Application) -> None:
    old = [app.put(ACME, "old"), app.put(ACME, "mixed")]
    app.keys.erase(ACME)
    new = [app.put(ACME, "mixed"), app.put(ACME, "new")]
    app.events.clear()
    assert app.ids(ACME) == new[::-1]
    assert app.ids(ACME, "mixed") == new[:1]
    assert app.ids(ACME, limit=1) == new[1:]
    assert app.ids(ACME, "old", limit=1) == []
    assert app.saver.passed_over["KeyErased"] >= len(old)
    assert {event.outcome for event in app.events if event.action == "refuse"} == {"KeyErased"}


async def test_an_asynchronous_list_passes_over_them_too(tmp_path: Path, wrapper: CountingWrapper) -> None:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "app.db")) as inner:
        keys = TenantKeyring(InMemoryStore(), wrapper)
        saver = EncryptedSaver(inner, keys)
        config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        checkpoint: Any = {**empty_checkpoint(), "v": 4}
        with encryption_context(ACME):
            await saver.aput(config, checkpoint, {"source": "loop", "step": 1}, {})
            keys.erase(ACME)
            assert [found async for found in saver.alist(None)] == []


async def test_a_search_passes_over_items_under_destroyed_keys(wrapper: CountingWrapper) -> None:
    keys = TenantKeyring(InMemoryStore(), wrapper)
    store = EncryptedStore(InMemoryStore(), keys)
    with encryption_context(ACME):
        for number in range(5):
            store.put(("n",), f"old {number}", {"kind": "note", "number": number})
        keys.erase(ACME)
        for number in range(5):
            store.put(("n",), f"new {number}", {"kind": "note", "number": number})
        for asked in ({}, {"filter": {"kind": "note"}}):
            assert {item.key for item in store.search(("n",), **asked)} == {f"new {number}" for number in range(5)}
            assert {item.key for item in await store.asearch(("n",), **asked)} == {f"new {number}" for number in range(5)}
        pages = [item.key for offset in range(0, 6, 2) for item in store.search(("n",), limit=2, offset=offset)]
        assert sorted(pages) == [f"new {number}" for number in range(5)]
        assert store.passed_over["KeyErased"] >= 5
        with pytest.raises(KeyErased):
            store.get(("n",), "old 0")


def test_one_row_alone_is_still_refused(app: Application) -> None:
    app.put(ACME, "old")
    app.keys.erase(ACME)
    with encryption_context(ACME), pytest.raises(KeyErased):
        app.saver.get_tuple({"configurable": {"thread_id": "old"}})


def test_rows_under_destroyed_keys_are_removed_and_no_others(app: Application) -> None:
    app.put(ACME, "old")
    kept = app.put(GLOBEX, "kept")
    app.keys.erase(ACME)
    new = app.put(ACME, "new")
    would = expire_erased(app.place, app.keys, dry_run=True)
    assert app.ids(GLOBEX) == [kept]
    done = expire_erased(app.place, app.keys)
    assert would.deleted == done.deleted
    assert {number > 0 for number in done.deleted.values()} == {True}
    assert (app.ids(ACME), app.ids(GLOBEX)) == ([new], [kept])
    assert verify(app.place, app.keys).document()["verdict"] == "passed"
    assert sum(expire_erased(app.place, app.keys).deleted.values()) == 0


def test_nothing_is_removed_that_cannot_be_told_to_be_erased(app: Application, wrapper: CountingWrapper) -> None:
    app.put(ACME, "old")
    for keys in (TenantKeyring(InMemoryStore(), wrapper), Key.generate()):
        assert sum(expire_erased(app.place, keys).deleted.values()) == 0
    wrapper.down = True
    cold = TenantKeyring.__new__(TenantKeyring)
    cold.__init__(app.store, LocalKeyWrapper(Key.generate()))  # type: ignore[misc]
    done = expire_erased(app.place, cold)
    assert sum(done.deleted.values()) == 0
    assert {failure.error for failure in done.failures} == {"KeyServiceError"}


def test_items_and_their_vectors_are_removed(tmp_path: Path, wrapper: CountingWrapper) -> None:
    keys = TenantKeyring(InMemoryStore(), wrapper)
    place = tmp_path / "memory.db"
    with SqliteStore.from_conn_string(str(place)) as inner:
        inner.setup()
        store = EncryptedStore(inner, keys)
        for tenant in (ACME, GLOBEX):
            with encryption_context(tenant):
                store.put((tenant["tenant_id"],), "k", {"text": "secret"})
        connection = inner.conn
        connection.execute("CREATE TABLE store_vectors (prefix text, key text, field_name text, embedding blob)")
        for tenant in (ACME, GLOBEX):
            connection.execute("INSERT INTO store_vectors VALUES (?, 'k', 'text', x'00')", (tenant["tenant_id"],))
        connection.commit()
        keys.erase(ACME)
        assert expire_erased(place, keys).deleted == {"store": 1}
        assert [row[0] for row in connection.execute("SELECT prefix FROM store_vectors").fetchall()] == ["globex"]
        with encryption_context(GLOBEX):
            assert store.get(("globex",), "k")


def test_an_item_that_was_put_anew_meanwhile_stays(tmp_path: Path, wrapper: CountingWrapper) -> None:
    keys = TenantKeyring(InMemoryStore(), wrapper)
    with SqliteStore.from_conn_string(str(tmp_path / "memory.db")) as inner, encryption_context(ACME):
        inner.setup()
        store = EncryptedStore(inner, keys)
        store.put(("n",), "k", {"text": "old"})
        keys.erase(ACME)

        class Slow(TenantKeyring):
            """Between the look at the row and its deletion, the application puts the item anew."""

            def decryption_key(self, key_id: bytes, context: Any) -> Key:
                store.put(("n",), "k", {"text": "new"})
                return keys.decryption_key(key_id, context)

        assert expire_erased(tmp_path / "memory.db", Slow(InMemoryStore(), wrapper)).deleted == {"store": 0}
        assert store.get(("n",), "k").value == {"text": "new"}  # type: ignore[union-attr]


@pytest.mark.parametrize("command", [verify, reencrypt])
def test_a_revoked_key_of_one_tenant_ends_no_run(tmp_path: Path, command: Any) -> None:
    calls: list[str] = []

    class Revoked(LocalKeyWrapper):
        is_revoked = False

        def unwrap(self, wrapped: bytes, context: Any) -> bytes:
            if self.is_revoked:
                calls.append("unwrap")
                raise KeyServiceError("the key is disabled; a retry cannot help", retryable=False)
            return super().unwrap(wrapped, context)

    wrappers = {"acme": Revoked(Key.generate()), "globex": LocalKeyWrapper(Key.generate())}
    with SqliteSaver.from_conn_string(str(tmp_path / "app.db")) as inner:
        app = Application(inner, str(tmp_path / "app.db"), PerTenantWrapper(lambda context: wrappers[context["tenant_id"]]))
        for number in range(3):
            app.put(ACME, f"acme {number}")
            app.put(GLOBEX, f"globex {number}")
        for tenant in (ACME, GLOBEX):
            app.keys.rotate(tenant)
        wrappers["acme"].is_revoked = True  # type: ignore[attr-defined]
        done = command(app.place, TenantKeyring(app.store, app.wrapper))
    assert {failure.error for failure in done.failures} == {"KeyServiceError"}
    assert {failure.row["thread_id"] for failure in done.failures} == {"acme 0", "acme 1", "acme 2"}
    assert len(calls) <= 2  # what failed is not asked for again for every row
    json.dumps(done.document())


def test_re_encryption_makes_no_key_for_an_erased_tenant(app: Application) -> None:
    app.put(ACME, "old")
    app.put(GLOBEX, "kept")
    app.keys.erase(ACME)
    done = reencrypt(app.place, app.keys)
    assert {failure.error for failure in done.failures} == {"KeyErased"}
    assert app.keys.current_key_id(ACME) is None


def test_rows_of_sqlite_are_counted_by_key(tmp_path: Path, wrapper: CountingWrapper) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "app.db")) as inner:
        app = Application(inner, str(tmp_path / "app.db"), wrapper)
        app.put(ACME, "old")
        erased = app.keys.erase(ACME)
        assert expire_erased(app.place, app.keys).keys == {erased.key_ids[0].hex(): 2}
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)


def test_a_row_that_names_a_destroyed_key_is_left_out_of_lists_and_named_by_verify(
    tmp_path: Path, wrapper: CountingWrapper
) -> None:
    """A remaining power of somebody who writes rows; docs/saver.md says so."""
    with SqliteSaver.from_conn_string(str(tmp_path / "app.db")) as inner:
        app = Application(inner, str(tmp_path / "app.db"), wrapper)
        app.put(ACME, "old")
        [old_id] = app.keys.erase(ACME).key_ids
        expire_erased(app.place, app.keys)
        app.put(ACME, "new")
        new_id = app.keys.encryption_key(ACME).id
        [(metadata,)] = inner.conn.execute("SELECT metadata FROM checkpoints").fetchall()
        stored = json.loads(metadata)
        [(name, text)] = [(name, text) for name, text in stored.items() if str(text).startswith("es1.")]
        sealed = b64url_decode(text.removeprefix("es1."))
        assert sealed is not None
        assert sealed.count(new_id) == 1
        stored[name] = "es1." + b64url_encode(sealed.replace(new_id, old_id))
        inner.conn.execute("UPDATE checkpoints SET metadata = ?", (json.dumps(stored).encode(),))
        inner.conn.commit()
        assert app.ids(ACME) == []
        with encryption_context(ACME), pytest.raises(KeyErased):
            app.saver.get_tuple({"configurable": {"thread_id": "new"}})
    assert {failure.error for failure in verify(tmp_path / "app.db", app.keys).failures} == {"KeyErased"}

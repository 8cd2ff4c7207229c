"""Items of stores: counted, opened in their place, sealed anew under another key, moved in and out."""

from __future__ import annotations

import enum
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest
from langgraph.store.base import BaseStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore

from encrypted_serde import ConfigurationError, EncryptedStore, Keyring, Sealer, encryption_context
from encrypted_serde.core.encoding import lp
from encrypted_serde.core.format import SEALED_MAGIC, bytes_of_text, sealed_text
from encrypted_serde.maintenance import DatabaseFailed, Report, Selection, expire, reencrypt, scan, verify
from tests.maintenance import sql
from tests.maintenance.forms import BOTH, FORMS, NEW_KEY, OLD_KEY, write_every_form
from tests.maintenance.test_hostile_cells import CELLS
from tests.store.embedding import DIMS, WordEmbeddings


class Paint(str, enum.Enum):
    RED = "red"


FIELDS: dict[str, Any] = {"searchable": ["city", "age"], "readable": ["kind", "score"]}
ANN = {"city": "Bonn", "age": 42, "kind": "person", "score": 1.5, "secret": "s3cret " * 40, "nested": {"list": [1, None, "ü"]}}
BEN = {"city": "Köln", "age": 7, "kind": "person", "secret": "other"}
ITEMS = {(("users", "ann"), "profile"): ANN, (("users", "ben"), "profile"): BEN, (("users", "ben"), "second"): {"city": "Bonn"}}
PLAINTEXT = {"allow_plaintext": True}


@contextmanager
def open_store(place: str) -> Iterator[BaseStore]:
    """Opens a plain store, as another process would."""
    with (PostgresStore if ":" in place else SqliteStore).from_conn_string(place) as store:
        store.setup()
        yield store


def fill(place: str, key: Any = OLD_KEY, items: Mapping[Any, dict[str, Any]] = ITEMS, **options: Any) -> None:
    """Puts items, through `EncryptedStore` unless there is no key."""
    with open_store(place) as plain:
        store = plain if key is None else EncryptedStore(plain, key, **options)
        for (namespace, name), value in items.items():
            store.put(namespace, name, value)


def contents(place: str, key: Any = NEW_KEY, **options: Any) -> dict[Any, Any]:
    """Gives what a store reads, with no switch on."""
    with open_store(place) as plain:
        store = plain if key is None else EncryptedStore(plain, key, **options)
        found = store.search((), limit=100)
        return {(item.namespace, item.key): item.value for item in found if not is_record(".".join(item.namespace))}


def rows(place: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Gives what stands in the table."""
    found = [row for row in sql.run(place, "SELECT prefix, key, value FROM store") if not is_record(row[0])]
    return {(prefix, key): json.loads(value) if isinstance(value, (str, bytes)) else value for prefix, key, value in found}


def everything(place: str) -> list[Any]:
    """Gives all columns of the table, but for records of keys."""
    return sorted((row for row in sql.run(place, "SELECT * FROM store") if not is_record(row[0])), key=lambda row: row[:2])


def is_record(prefix: Any) -> bool:
    """Says whether the store records in a namespace under which keys names and tokens were made: no item, and passed over."""
    return str(prefix).startswith("es1.k")


def edit(place: str, prefix: str, key: str, value: Any) -> None:
    """Replaces a value as somebody with access to the database does."""
    cell = json.dumps(value)
    if ":" in place:
        sql.run(place, "UPDATE store SET value = ?::jsonb WHERE prefix = ? AND key = ?", cell, prefix, key)
    else:
        sql.run(place, "UPDATE store SET value = ? WHERE prefix = ? AND key = ?", cell.encode(), prefix, key)


def errors(found: Report) -> list[tuple[str, str, str]]:
    """Gives place and class of each failure."""
    assert {failure.table for failure in found.failures} <= {"store"}
    return sorted((failure.row["prefix"], failure.row["key"], failure.error) for failure in found.failures)


# --- scan


def test_scan_counts_items_by_form_and_fields_that_are_readable(place: str) -> None:
    fill(place, **FIELDS)
    fill(place, None, {(("plain",), "one"): {"a": 1}, (("plain",), "own"): {"es1": "es1.hello"}})
    edit(place, "users.ben", "second", {"es1": rows(place)["users.ben", "second"]["es1"][:88]})
    found = scan(place, current_keys=[NEW_KEY.id.hex()])
    assert {(line.column, line.what, line.kind): line.values for line in found.tally.lines} == {
        ("store.value", "item", "sealed"): 2,
        ("store.value", "item", "undecodable"): 1,
        ("store.value", "item", "plaintext"): 2,
        ("store.value", "readable field kind", "plaintext"): 2,
        ("store.value", "readable field score", "plaintext"): 1,
    }
    assert found.problems() == {"plaintext": 5, "legacy": 0, "old-key": 2, "unbound": 0, "undecodable": 1}
    assert {line.what for line in scan(place, readable_metadata=["kind", "score"]).tally.lines} == {"item"}
    assert found.rows == {"store": 5}


# --- verify


def test_honest_items_open_in_their_place(place: str) -> None:
    fill(place, **FIELDS)
    dated = {"when": datetime(2026, 1, 1, tzinfo=timezone.utc), "raw": b"bytes", "huge": 1 << 60, "none": None}
    fill(place, NEW_KEY, {(("dated",), "one"): dated}, readable=["huge", "none"], searchable=["raw", "when"], values="objects")
    found = verify(place, BOTH)
    assert found.failures == []
    assert (found.opened, found.rows) == (4, {"store": 4})
    assert found.tally.totals("key_id") == {OLD_KEY.id.hex(): 3, NEW_KEY.id.hex(): 1}


def test_a_copy_of_what_json_cannot_hold_is_left_to_the_store(tmp_path: Any) -> None:
    place = str(tmp_path / "one.sqlite")
    dated = {"when": datetime(2026, 1, 1, tzinfo=timezone.utc)}
    fill(place, OLD_KEY, {(("dated",), "one"): dated}, readable=["when"], values="objects")
    assert verify(place, OLD_KEY).failures == []
    assert reencrypt(place, BOTH).left == 0
    assert contents(place, readable=["when"], values="objects") == {(("dated",), "one"): dated}


def test_a_moved_item_is_found(place: str) -> None:
    fill(place, **FIELDS)
    edit(place, "users.ben", "profile", rows(place)["users.ann", "profile"])
    assert errors(verify(place, OLD_KEY)) == [("users.ben", "profile", "AuthenticationFailed")]
    sql.run(place, "UPDATE store SET prefix = 'users' WHERE prefix = 'users.ann'")
    assert errors(verify(place, OLD_KEY))[0] == ("users", "profile", "AuthenticationFailed")


NESTED: list[Any] = json.loads("[" * 600 + "]" * 600)
CHANGES = [{"kind": "robot"}, {"kind": NESTED}, {"score": 1.50001}, {"score": True}, {"extra": 1}, {"secret": "es1s.x"}]


@pytest.mark.parametrize("change", CHANGES, ids=["text", "nested deeply", "number", "type", "field", "token"])
def test_an_edited_copy_or_token_is_found(place: str, change: dict[str, Any]) -> None:
    fill(place, **FIELDS)
    edit(place, "users.ann", "profile", {**rows(place)["users.ann", "profile"], **change})
    assert errors(verify(place, OLD_KEY)) == [("users.ann", "profile", "WrongLocation")]
    before = everything(place)
    done = reencrypt(place, BOTH)
    assert errors(done) == [("users.ann", "profile", "WrongLocation")]
    assert (done.left, done.rewritten) == (1, 2)
    assert everything(place)[0] == before[0]


def test_an_exchanged_token_is_found(place: str) -> None:
    fill(place, **FIELDS)
    ann, ben = rows(place)["users.ann", "profile"], rows(place)["users.ben", "profile"]
    edit(place, "users.ann", "profile", {**ann, "city": ben["city"]})
    edit(place, "users.ben", "profile", {**ben, "age": ben["city"]})
    assert errors(verify(place, OLD_KEY)) == [
        ("users.ann", "profile", "WrongLocation"),
        ("users.ben", "profile", "WrongLocation"),
    ]


def test_plaintext_fails_unless_a_switch_admits_it(place: str) -> None:
    fill(place)
    edit(place, "users.ann", "profile", ANN)
    assert errors(verify(place, OLD_KEY)) == [("users.ann", "profile", "PlaintextRefused")]
    assert errors(reencrypt(place, BOTH)) == [("users.ann", "profile", "PlaintextRefused")]
    admitted = verify(place, BOTH, **PLAINTEXT)
    assert (admitted.failures, admitted.admitted) == ([], {"plaintext": 1})


def test_a_relabelled_item_is_found(place: str) -> None:
    fill(place)
    stored = bytes_of_text(rows(place)["users.ann", "profile"]["es1"])
    assert stored is not None
    for old, new, error in (
        (b"es-json+", b"es-jsom+", "AuthenticationFailed"),
        (OLD_KEY.id, NEW_KEY.id, "AuthenticationFailed"),
        (OLD_KEY.id, bytes(32), "UnknownKey"),
        (b"xaes-256-gcm", b"xaes-256-gcn", "UnsupportedCipher"),
    ):
        edit(place, "users.ann", "profile", {"es1": sealed_text(stored.replace(old, new, 1))})
        assert errors(verify(place, BOTH, **PLAINTEXT)) == [("users.ann", "profile", error)]
        if new != NEW_KEY.id:  # what seems to stand under the new key is left, and verify opens it
            assert errors(reencrypt(place, BOTH, dry_run=True, **PLAINTEXT)) == [("users.ann", "profile", error)]


def test_a_value_bound_to_no_place_is_admitted_by_no_switch(place: str) -> None:
    fill(place)
    unbound = Sealer(OLD_KEY).seal("msgpack", b"\x80")
    edit(place, "users.ann", "profile", {"es1": sealed_text(SEALED_MAGIC + lp(unbound[0].encode()) + unbound[1])})
    for options in ({}, {"allow_unbound": True}, {"target": "serde"}):
        assert errors(reencrypt(place, BOTH, dry_run=True, **options)) == [("users.ann", "profile", "WrongLocation")]


def test_another_context_than_the_expected_one_fails(place: str) -> None:
    with encryption_context(tenant_id="acme"):
        fill(place, **FIELDS)
    assert verify(place, OLD_KEY, context={"tenant_id": "acme"}).failures == []
    assert {failure.error for failure in verify(place, OLD_KEY, context={"tenant_id": "other"}).failures} == {"WrongContext"}


# --- reencrypt


@pytest.mark.parametrize("target", ["saver", "serde"])
def test_after_a_rotation_everything_is_read_and_found_under_the_new_key_alone(place: str, target: str) -> None:
    with encryption_context(tenant_id="acme"):
        fill(place, Sealer(OLD_KEY, cipher="aes-256-gcm", compression="zstd"), **FIELDS)
    fill(place, OLD_KEY, {(("none",), "one"): {"city": "Bonn", "huge": 1 << 60}}, **FIELDS)
    before = everything(place)
    done = reencrypt(place, BOTH, target=target)
    assert (done.failures, done.left, done.rewritten, done.rows) == ([], 0, 4, {"store": 4})
    assert done.tally.totals("cipher") == {"aes-256-gcm": 3, "xaes-256-gcm": 1}
    assert sum(line.values for line in done.tally.lines if line.compressed) == 1  # the others would not get smaller
    assert [[*row[:2], *row[3:]] for row in everything(place)] == [[*row[:2], *row[3:]] for row in before]  # times are kept
    assert verify(place, NEW_KEY).failures == []
    with open_store(place) as plain, encryption_context(tenant_id="acme"):
        store = EncryptedStore(plain, NEW_KEY, **FIELDS)
        assert {(item.namespace, item.key): item.value for item in store.search(("users",))} == ITEMS
        found = store.search(("users",), filter={"city": "Bonn", "kind": {"$ne": "robot"}})
        assert [item.value for item in found] == [ANN]
        assert [item.value for item in store.search((), filter={"age": 7, "kind": "person"})] == [BEN]
        assert len(plain.search((), filter={"city": rows(place)["users.ann", "profile"]["city"]})) == 2  # in the database
    assert reencrypt(place, BOTH, target=target).rewritten == 0


def test_a_token_is_that_of_the_text_that_sqlite_compares(tmp_path: Any) -> None:
    place = str(tmp_path / "one.sqlite")
    fill(place, OLD_KEY, {(("users",), "ann"): {"city": "Bo\0nn"}}, **FIELDS)
    assert verify(place, OLD_KEY).failures == []
    assert reencrypt(place, BOTH).failures == []
    assert verify(place, NEW_KEY).failures == []
    with open_store(place) as plain:
        store = EncryptedStore(plain, NEW_KEY, **FIELDS)
        assert [item.key for item in store.search((), filter={"city": "Bo"})] == ["ann"]


def test_a_token_of_what_only_the_application_can_read_is_no_tampering_and_stays_under_its_key(place: str) -> None:
    fill(place, OLD_KEY, {(("paints",), "one"): {"city": Paint.RED}}, searchable=["city"], values="objects")
    assert verify(place, OLD_KEY).failures == []
    done = reencrypt(place, BOTH)
    assert (done.left, done.failures[0].error) == (1, "Unconvertible")
    with open_store(place) as plain:
        store = EncryptedStore(plain, BOTH, searchable=["city"], values="objects")
        assert [item.key for item in store.search((), filter={"city": "red"})] == ["one"]


@pytest.mark.parametrize("kind", ["blob", "text"])
def test_a_value_keeps_the_type_that_it_has_in_sqlite(tmp_path: Any, kind: str) -> None:
    place = str(tmp_path / "one.sqlite")
    fill(place)
    sql.run(place, f"UPDATE store SET value = CAST(value AS {kind})")
    for target in ("saver", "plaintext"):
        assert reencrypt(place, BOTH, target=target).rewritten == 3
        assert sql.run(place, "SELECT DISTINCT typeof(value) FROM store") == [(kind,)]


def test_a_dry_run_writes_nothing_and_says_what_a_run_would(place: str) -> None:
    fill(place, **FIELDS)
    before = everything(place)
    done = reencrypt(place, BOTH, dry_run=True)
    assert (done.rewritten, done.failures) == (3, [])
    assert everything(place) == before


def test_cipher_and_compression_change_on_demand_and_then_stay(place: str) -> None:
    fill(place, NEW_KEY, {(("a",), "one"): {"text": "x" * 5000, "city": "ü"}}, searchable=["city"])
    assert reencrypt(place, NEW_KEY, cipher="aes-256-gcm", compression="zstd").rewritten == 1
    assert reencrypt(place, NEW_KEY, cipher="aes-256-gcm", compression="zstd").rewritten == 0
    assert contents(place) == {(("a",), "one"): {"text": "x" * 5000, "city": "ü"}}
    assert len(rows(place)["a", "one"]["es1"]) < 1000


def test_a_value_that_does_not_shrink_is_not_written_again_and_again(place: str) -> None:
    fill(place, NEW_KEY, {(("a",), "one"): {"t": "x", "kind": "ü"}}, **FIELDS)
    assert reencrypt(place, NEW_KEY, compression="zstd").rewritten == 0


def test_plaintext_moves_in_with_the_fields_that_the_store_is_told(place: str) -> None:
    fill(place, None)
    done = reencrypt(place, NEW_KEY, **PLAINTEXT, readable_fields=FIELDS["readable"], searchable_fields=FIELDS["searchable"])
    assert (done.failures, done.left, done.rewritten, done.admitted) == ([], 0, 3, {"plaintext": 3})
    assert contents(place, **FIELDS) == ITEMS
    with open_store(place) as plain:
        found = EncryptedStore(plain, NEW_KEY, **FIELDS).search((), filter={"city": "Bonn"})
        assert sorted(item.key for item in found) == ["profile", "second"]
    assert rows(place)["users.ann", "profile"].keys() == {"es1", "es1c", "city", "age", "kind", "score"}
    assert b"s3cret" not in repr(everything(place)).encode()
    assert verify(place, NEW_KEY).failures == []


def test_items_move_in_under_the_context_of_their_namespace(place: str) -> None:
    fill(place, None)
    reencrypt(place, NEW_KEY, **PLAINTEXT, context=lambda prefix: {"tenant_id": prefix.rpartition(".")[2]})
    with encryption_context(tenant_id="ann"):
        assert contents(place) == {(("users", "ann"), "profile"): ANN}


@pytest.mark.parametrize("fields", [(["a"], ["a"]), (["es1"], []), ([], ["es1v"])])
def test_fields_that_the_store_would_refuse_are_refused(place: str, fields: Any) -> None:
    with pytest.raises(ConfigurationError, match="reserved name"):
        reencrypt(place, NEW_KEY, readable_fields=fields[0], searchable_fields=fields[1])


def test_a_single_name_of_a_field_is_refused(place: str) -> None:
    with pytest.raises(TypeError, match="several names"):
        reencrypt(place, NEW_KEY, searchable_fields="city")


def test_what_is_decrypted_the_plain_store_reads_as_it_was_put(place: str) -> None:
    fill(place, **FIELDS)
    fill(place, None, {(("plain",), "one"): {"a": 1}})
    done = reencrypt(place, OLD_KEY, target="plaintext")
    assert (done.failures, done.left, done.rewritten) == ([], 0, 3)
    assert contents(place, None) == {**ITEMS, (("plain",), "one"): {"a": 1}}
    with open_store(place) as plain:
        assert len(plain.search((), filter={"city": "Bonn"})) == 2


def test_what_json_cannot_hold_stays_sealed_and_is_reported(place: str) -> None:
    hard = {"date": datetime(2026, 1, 1, tzinfo=timezone.utc), "bytes": b"x", "nan": float("nan"), "key": {1: 2}, "set": {1}}
    fill(place, OLD_KEY, {(("hard",), name): {name: value} for name, value in hard.items()}, values="objects")
    done = reencrypt(place, OLD_KEY, target="plaintext")
    assert errors(done) == [("hard", name, "Unconvertible") for name in sorted(hard)]
    assert done.left == len(contents(place, OLD_KEY, values="objects")) == len(hard)


def test_what_the_database_does_not_take_is_one_failure(postgres_url: str) -> None:
    fill(postgres_url, OLD_KEY, {(("hard",), "nul"): {"a": "\0"}, (("hard",), "fine"): {"a": 1 << 70}}, values="objects")
    done = reencrypt(postgres_url, OLD_KEY, target="plaintext")
    assert [(failure.row["key"], failure.reason) for failure in done.failures] == [("nul", "the row could not be read")]
    assert rows(postgres_url)["hard", "fine"] == {"a": 1 << 70}


def test_integers_that_the_plain_store_would_read_as_floats_stay_sealed(tmp_path: Any) -> None:
    place = str(tmp_path / "one.sqlite")
    fill(place, OLD_KEY, {(("hard",), "huge"): {"a": 1 << 70}}, values="objects")
    assert errors(reencrypt(place, OLD_KEY, target="plaintext")) == [("hard", "huge", "Unconvertible")]


def test_items_under_pseudonyms_open_and_are_not_rotated_from_under_their_names(place: str) -> None:
    fill(place, pseudonymous_names=True, **FIELDS)
    assert verify(place, OLD_KEY).failures == []
    before = everything(place)
    for options in ({}, {"target": "plaintext"}):
        done = reencrypt(place, BOTH, **options)
        assert {failure.error for failure in done.failures} == {"Unconvertible"}
        assert {"pseudonyms" in reason for _, _, reason in done.groups} == {True}
        assert done.failed == done.left == len(before) > len(ITEMS)  # the dictionary too
        assert everything(place) == before
    assert reencrypt(place, OLD_KEY, cipher="aes-256-gcm").left == 0  # the key, and so the names, stay
    assert contents(place, OLD_KEY, pseudonymous_names=True) == ITEMS


def test_an_edited_copy_beside_an_item_under_a_pseudonym_is_found(place: str) -> None:
    fill(place, pseudonymous_names=True, **FIELDS)
    [(prefix, key), stored] = next((slot, value) for slot, value in rows(place).items() if "kind" in value)
    edit(place, prefix, key, {**stored, "kind": "robot"})
    assert errors(verify(place, OLD_KEY)) == [(prefix, key, "WrongLocation")]


def test_vectors_are_found_after_a_rotation(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(sqlite3.Connection, "enable_load_extension"):  # this Python's cannot load sqlite-vec
        monkeypatch.setattr("langgraph.store.sqlite.base.sqlite3", pytest.importorskip("pysqlite3.dbapi2"))
    place, index = str(tmp_path / "one.sqlite"), {"dims": DIMS, "embed": WordEmbeddings(), "fields": ["text"]}
    found = []
    for key in (OLD_KEY, NEW_KEY):
        with SqliteStore.from_conn_string(place, index=index) as plain:  # type: ignore[arg-type]
            plain.setup()
            store = EncryptedStore(plain, key, readable_embeddings=True)
            for name, text in (("one", "cats and dogs"), ("two", "ships at sea")) if key is OLD_KEY else ():
                store.put(("texts",), name, {"text": text})
            found.append([(item.key, item.value, item.score) for item in store.search(("texts",), query="ships")])
        assert reencrypt(place, BOTH).left == 0
    assert found[0] == found[1]
    assert found[0][0][0] == "two"
    assert "es1v" in rows(place)["texts", "one"]


# --- meanwhile


def test_an_item_that_was_written_meanwhile_wins_on_sqlite(tmp_path: Any) -> None:
    place = str(tmp_path / "one.sqlite")
    fill(place, None)
    calls: list[str] = []

    def context(prefix: str) -> dict[str, str]:
        calls.append(prefix)
        if len(calls) == 1:
            edit(place, prefix, "profile", {"written": "meanwhile"})
        return {}

    done = reencrypt(place, NEW_KEY, **PLAINTEXT, context=context)
    assert (done.overtaken, done.left) == (1, 0)
    assert contents(place)[("users", "ann"), "profile"] == {"written": "meanwhile"}


def test_a_row_that_another_has_locked_is_left_to_it_on_postgres(postgres_url: str) -> None:
    fill(postgres_url, None)
    with psycopg.connect(postgres_url) as other:
        other.execute("UPDATE store SET value = '{\"written\": \"meanwhile\"}' WHERE prefix = 'users.ann'")
        done = reencrypt(postgres_url, NEW_KEY, **PLAINTEXT, progress=lambda _: other.commit())
    assert done.left == 0
    assert contents(postgres_url)[("users", "ann"), "profile"] == {"written": "meanwhile"}


# --- which rows, which databases


def test_parts_of_a_partition_cover_every_item_once_and_threads_have_none(place: str) -> None:
    fill(place, OLD_KEY, {((f"n{number}",), "one"): {"a": 1} for number in range(12)})
    parts = [verify(place, OLD_KEY, selection=Selection(partition=(part, 3))).opened for part in (1, 2, 3)]
    assert sum(parts) == 12
    assert max(parts) < 12
    assert reencrypt(place, BOTH, selection=Selection(threads=["n1"])).read == 0
    since = Selection(since=datetime(2020, 1, 1, tzinfo=timezone.utc))
    assert verify(place, OLD_KEY, selection=since).opened == 0


def test_checkpoints_and_items_of_one_database_go_in_one_run(place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    fill(place, **FIELDS)
    assert scan(place).rows["store"] == 3
    done = reencrypt(place, BOTH)
    assert (done.failures, done.left) == ([], 0)
    found = verify(place, NEW_KEY)
    assert found.failures == []
    assert found.rows["store"] == 3 < found.opened
    assert contents(place, **FIELDS) == ITEMS
    before = everything(place)
    gone = expire(place, datetime.now(timezone.utc))
    assert gone.deleted["checkpoints"] > 0
    assert "store" not in gone.deleted
    assert everything(place) == before


def test_expire_refuses_a_database_that_has_only_a_store(place: str) -> None:
    fill(place)
    for dry_run in (False, True):
        with pytest.raises(ConfigurationError, match="for databases of checkpointers"):
            expire(place, datetime.now(timezone.utc), dry_run=dry_run)
    assert len(rows(place)) == 3


def test_expire_needs_no_right_to_delete_items(postgres_url: str) -> None:
    write_every_form(postgres_url, {"saver-old-key": FORMS["saver-old-key"]})
    fill(postgres_url)
    role = f"expiring_{secrets.token_hex(4)}"
    sql.run(postgres_url, f"CREATE ROLE {role}")
    try:
        tables = "checkpoints, checkpoint_writes, checkpoint_blobs"
        sql.run(postgres_url, f"GRANT SELECT, DELETE ON {tables} TO {role}")
        gone = expire(f"{postgres_url}&options=-c%20role%3D{role}", datetime.now(timezone.utc))
        assert gone.deleted["checkpoints"] > 0
    finally:
        sql.run(postgres_url, f"DROP OWNED BY {role}")
        sql.run(postgres_url, f"DROP ROLE {role}")


def test_a_table_of_that_name_that_is_no_stores_is_left_alone(place: str) -> None:
    sql.run(place, "CREATE TABLE store (id INTEGER, name TEXT)")
    with pytest.raises(DatabaseFailed, match="or a store"):
        scan(place)


# --- whatever stands in a row

_HOSTILE = (
    [],
    5,
    None,
    "es1.",
    {"es1": None},
    {"es1": ["es1.x"]},
    {"es1": "es1.wUVTMQ"},
    {"es1": "\ud800"},
    {"es1": {"es1": "es1."}, "es1v": 7},
    {"a": 10**400, "b": "es1s."},
)


def everything_runs(place: str) -> None:
    """Runs all commands, and reads the innocent item under the new key alone."""
    scan(place)
    verify(place, BOTH)
    for options in ({"dry_run": True}, {}, PLAINTEXT, {**PLAINTEXT, "compression": "zstd"}):
        done = reencrypt(place, BOTH, **options)
        assert not [failure for failure in done.failures if failure.row["prefix"] == "innocent"]
        json.dumps(done.document())
    with open_store(place) as plain:
        item = EncryptedStore(plain, NEW_KEY).get(("innocent",), "one")
        assert item is not None
        assert item.value == {"a": 1}


def test_no_json_in_a_row_ends_a_run(place: str) -> None:
    fill(place, OLD_KEY, {(("innocent",), "one"): {"a": 1}, **{((f"n{n}",), "x"): {"n": n} for n in range(len(_HOSTILE))}})
    sealed = rows(place)["n0", "x"]
    for number, value in enumerate(_HOSTILE):
        if ":" not in place or not (isinstance(value, dict) and value.get("es1") == "\ud800"):
            edit(place, f"n{number}", "x", value)
    edit(place, "n2", "x", {**sealed, "deep": json.loads("[" * 400 + "]" * 400)})
    everything_runs(place)


@pytest.mark.parametrize("column", ["prefix", "key", "value"])
def test_no_cell_of_sqlite_ends_a_run(tmp_path: Any, column: str) -> None:
    place = str(tmp_path / "one.sqlite")
    fill(place, OLD_KEY, {(("innocent",), "one"): {"a": 1}, **{((f"n{n}",), "x"): {"n": n} for n in range(len(CELLS))}})
    for number, cell in enumerate(CELLS.values()):
        if cell is not None:  # columns are NOT NULL
            sql.run(place, f"UPDATE store SET {column} = ? WHERE prefix = ?", cell, f"n{number}")
    sql.run(place, f"UPDATE store SET {column} = CAST(x'ff00' AS TEXT) WHERE prefix = 'n11'")
    everything_runs(place)


# --- the mark of a context


def test_an_exchanged_mark_is_found(place: str) -> None:
    with encryption_context(tenant_id="acme"):
        fill(place)
    fill(place, OLD_KEY, {(("none",), "one"): {"a": 1}})
    other = rows(place)["none", "one"]["es1c"]
    edit(place, "users.ann", "profile", {**rows(place)["users.ann", "profile"], "es1c": other})
    assert errors(verify(place, OLD_KEY)) == [("users.ann", "profile", "WrongLocation")]


def test_items_without_a_mark_get_one_and_a_new_key_makes_it_anew(place: str) -> None:
    with encryption_context(tenant_id="acme"):
        fill(place)
    old = rows(place)["users.ben", "profile"]["es1c"]
    edit(place, "users.ann", "profile", {"es1": rows(place)["users.ann", "profile"]["es1"]})
    assert verify(place, OLD_KEY).failures == []
    assert reencrypt(place, BOTH).failures == []
    marks = {stored["es1c"] for stored in rows(place).values()}
    assert len(marks) == 1
    assert old not in marks
    with encryption_context(tenant_id="acme"):
        assert contents(place) == ITEMS


class OwnKeys:
    """A key provider of an application, which can be asked for search keys."""

    def __init__(self, keys: Keyring) -> None:
        self.encryption_key, self.decryption_key, self.search_keys = keys.encryption_key, keys.decryption_key, keys.search_keys


def test_marks_stay_under_a_provider_of_the_applications_own(place: str) -> None:
    with encryption_context(tenant_id="acme"):
        fill(place, OwnKeys(Keyring(primary=OLD_KEY)))
    assert all("es1c" in stored for stored in rows(place).values())
    both = OwnKeys(Keyring(primary=NEW_KEY, decrypt_only=[OLD_KEY]))
    assert reencrypt(place, both).rewritten == len(ITEMS)
    assert all("es1c" in stored for stored in rows(place).values())
    assert verify(place, both).failures == []

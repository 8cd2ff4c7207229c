"""What does not open, or does not hold, is reported with its row and stays as it is. Nothing that is stored is ever run."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ormsgpack
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from encrypted_serde import ConfigurationError, Key
from encrypted_serde.maintenance import DatabaseFailed, Reencryption, reencrypt, scan
from tests.maintenance.forms import BOTH, EVERYTHING, FORMS, NEW_KEY, open_saver, replay, write_every_form


@pytest.fixture
def sqlite_place(tmp_path: Path) -> str:
    return str(tmp_path / "checkpoints.sqlite")


def change(place: str, statement: str, *parameters: Any) -> int:
    """Runs a statement as somebody who can write rows; gives the number of rows it changed."""
    if place.startswith("postgresql:"):
        with psycopg.connect(place) as connection:
            return connection.execute(statement.replace("?", "%s"), parameters).rowcount
    with sqlite3.connect(place) as connection:
        changed = connection.execute(statement, parameters).rowcount
    connection.close()
    return changed


def rows(place: str, table: str) -> list[tuple[Any, ...]]:
    if place.startswith("postgresql:"):
        with psycopg.connect(place) as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5").fetchall()
    with sqlite3.connect(place) as connection:
        found = connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
    connection.close()
    return found


def errors(done: Reencryption) -> set[str]:
    return {failure.error for failure in done.failures}


def test_values_under_a_key_that_is_not_there_are_reported_and_left(place: str) -> None:
    before = write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    stored = rows(place, "checkpoints")
    done = reencrypt(place, NEW_KEY, **EVERYTHING)
    assert errors(done) == {"UnknownKey"}
    assert done.rewritten == 0
    assert done.failed == done.left == done.read
    assert {failure.row["thread_id"] for failure in done.failures} == {"saver-old-key/asked", "saver-old-key/delta"}
    assert rows(place, "checkpoints") == stored
    with open_saver(place) as plain:
        assert replay(FORMS["saver-old-key"](plain), "saver-old-key") == before["saver-old-key"]


def test_upstreams_values_without_its_key_are_reported_and_left(place: str) -> None:
    write_every_form(place, {"upstream-eax": FORMS["upstream-eax"]})
    opened = {**EVERYTHING, "legacy_keys": ()}
    assert errors(reencrypt(place, BOTH, **opened)) == {"UnsupportedCipher", *blocked(place)}
    opened["legacy_keys"] = [b"x" * 32]
    assert errors(reencrypt(place, BOTH, **opened)) == {"AuthenticationFailed", *blocked(place)}


def blocked(place: str) -> set[str]:
    """What a checkpoint fails with on Postgres, where it could be converted and its pending writes could not."""
    return {"Blocked"} if place.startswith("postgresql:") else set()


def test_the_good_rows_beside_a_bad_one_are_done(place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    done = reencrypt(place, NEW_KEY, **EVERYTHING)
    assert done.rewritten > 0
    assert {failure.row["thread_id"].partition("/")[0] for failure in done.failures} == {"saver-old-key"}
    assert done.left == done.failed


TAMPERINGS: dict[str, Callable[[str], int]] = {
    "readable metadata changed": lambda place: change(
        place,
        "UPDATE checkpoints SET metadata = jsonb_set(metadata, '{step}', '77') WHERE parent_checkpoint_id IS NULL"
        if place.startswith("postgresql:")
        else "UPDATE checkpoints SET metadata = CAST(json_set(CAST(metadata AS TEXT), '$.step', 77) AS BLOB) "
        "WHERE parent_checkpoint_id IS NULL",
    ),
    "parent changed": lambda place: change(
        place, "UPDATE checkpoints SET parent_checkpoint_id = 'another' WHERE parent_checkpoint_id IS NULL"
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_row_that_was_tampered_with_gets_no_new_manifest(place: str, tampering: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    changed = TAMPERINGS[tampering](place)
    done = reencrypt(place, BOTH, **EVERYTHING)
    assert errors(done) == {"WrongLocation"}
    assert done.failed == done.left == changed > 0


def test_a_parent_may_be_gone_only_where_prune_leaves_it_so(place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    changed = change(place, "UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE parent_checkpoint_id IS NOT NULL")
    done = reencrypt(place, BOTH, **EVERYTHING)
    assert 0 < done.failed <= changed
    failed_threads = {failure.row["thread_id"] for failure in done.failures}
    assert "saver-old-key/delta" in failed_threads
    assert ("saver-old-key/asked" in failed_threads) == (not place.startswith("postgresql:"))


@pytest.mark.parametrize("target", ["saver", "serde", "plaintext"])
def test_a_value_that_was_moved_is_not_made_at_home(place: str, target: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    table, column = ("checkpoint_writes", "blob") if place.startswith("postgresql:") else ("writes", "value")
    thread = "saver-old-key/delta"
    moved = change(
        place,
        f"UPDATE {table} SET {column} = (SELECT {column} FROM {table} WHERE thread_id = ? AND channel = 'messages' LIMIT 1) "
        "WHERE thread_id = ? AND channel = 'log'",
        thread,
        thread,
    )
    done = reencrypt(place, BOTH, **EVERYTHING, target=target)
    assert errors(done) - {"Blocked"} == {"AuthenticationFailed"}
    # To leave, its checkpoint stays sealed with all that belongs to it.
    assert done.failed == done.left >= moved > 0
    assert (done.failed == moved) == (target == "saver")


def test_a_channel_that_is_missing_is_reported_when_the_manifest_goes(sqlite_place: str) -> None:
    write_every_form(sqlite_place, {"saver-old-key": FORMS["saver-old-key"]})
    [rowid, packed] = _first(sqlite_place, "saver-old-key/delta")
    document = ormsgpack.unpackb(packed, ext_hook=lambda code, data: None)
    document["channel_values"].popitem()
    change(sqlite_place, "UPDATE checkpoints SET checkpoint = ? WHERE rowid = ?", ormsgpack.packb(document), rowid)
    done = reencrypt(sqlite_place, BOTH, **EVERYTHING)
    assert (errors(done), done.failed) == ({"WrongLocation"}, 1)
    done = reencrypt(sqlite_place, BOTH, **EVERYTHING, target="plaintext")
    assert errors(done) == {"WrongLocation", "Blocked"}  # its writes stay sealed as long as it does


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize("target", ["saver", "serde"])
def test_a_pickle_is_never_vouched_for_and_never_run(place: str, target: str) -> None:
    write_every_form(place, {"plaintext": FORMS["plaintext"]})
    table, column = ("checkpoint_writes", "blob") if place.startswith("postgresql:") else ("writes", "value")
    changed = change(place, f"UPDATE {table} SET type = 'pickle', {column} = ? WHERE idx = 0", pickle.dumps(_Bomb()))
    done = reencrypt(place, BOTH, **EVERYTHING, target=target)
    refused = [failure for failure in done.failures if failure.error == "PlaintextRefused"]
    assert len(refused) == changed > 0
    # A checkpoint whose pending writes cannot be sealed gets no manifest.
    assert errors(done) == ({"PlaintextRefused", "Blocked"} if target == "saver" else {"PlaintextRefused"})


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x81", b"\xdd\xff\xff\xff\xff", b"\xc7", b"\x91" * 5000, bytes(40)])
def test_garbage_is_reported_and_left(sqlite_place: str, garbage: bytes) -> None:
    write_every_form(sqlite_place, {"plaintext": FORMS["plaintext"]})
    [rowid, _] = _first(sqlite_place, "plaintext/delta")
    change(sqlite_place, "UPDATE checkpoints SET checkpoint = ? WHERE rowid = ?", garbage, rowid)
    done = reencrypt(sqlite_place, BOTH, **EVERYTHING)
    assert done.failed == done.left == 1
    assert _first(sqlite_place, "plaintext/delta") == [rowid, garbage]
    if garbage not in (bytes(40),):
        assert scan(sqlite_place).problems()["undecodable"] == 1


def _first(place: str, thread: str) -> list[Any]:
    with sqlite3.connect(place) as connection:
        [found] = connection.execute("SELECT min(rowid), checkpoint FROM checkpoints WHERE thread_id = ?", (thread,)).fetchall()
    connection.close()
    return [*found]


# --- databases ------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader_url(postgres_url: str):
    """The URL of the same database for a role that may only read."""
    parts = conninfo_to_dict(postgres_url)
    role = f"reader_{parts['dbname']}"[:60]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'reader'").format(sql.Identifier(role)))
        query = "&".join(f"{name}={quote(str(parts[name]), safe='')}" for name in ("host", "port") if name in parts)
        try:
            yield f"postgresql://{role}:reader@/{parts['dbname']}?{query}", role
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_role_that_may_only_read_can_scan_and_is_told_what_it_needs_to_re_encrypt(postgres_url: str, reader_url) -> None:
    url, role = reader_url
    write_every_form(postgres_url, {"plaintext": FORMS["plaintext"]})
    with psycopg.connect(postgres_url) as connection:
        connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(role)))
    assert scan(url).tally.lines == scan(postgres_url).tally.lines
    assert reencrypt(url, BOTH, **EVERYTHING, dry_run=True).rewritten > 0
    with pytest.raises(DatabaseFailed, match="GRANT SELECT, UPDATE ON checkpoint_writes, checkpoints, checkpoint_blobs TO"):
        reencrypt(url, BOTH)
    with psycopg.connect(postgres_url) as connection:
        connection.execute(sql.SQL("REVOKE SELECT ON checkpoint_blobs FROM {}").format(sql.Identifier(role)))
    with pytest.raises(DatabaseFailed, match="permission denied"):
        scan(url)


@pytest.mark.parametrize("function", [scan, lambda place: reencrypt(place, NEW_KEY, **EVERYTHING)])
def test_a_file_that_is_not_there_is_an_error_and_not_made(tmp_path: Path, function: Callable[[str], Any]) -> None:
    with pytest.raises(DatabaseFailed, match="there is no such file"):
        function(str(tmp_path / "nothing.db"))
    assert [*tmp_path.iterdir()] == []


def test_a_database_of_something_else_is_refused(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "other.db"
    sqlite3.connect(path).close()
    path.touch()
    for place in (str(path), postgres_url):
        with pytest.raises(DatabaseFailed, match="no database of a checkpointer"):
            scan(place)


def test_checkpoints_without_a_table_of_writes_are_refused(sqlite_place: str) -> None:
    write_every_form(sqlite_place, {"plaintext": FORMS["plaintext"]})
    change(sqlite_place, "DROP TABLE writes")
    with pytest.raises(ConfigurationError, match="no table of pending writes"):
        scan(sqlite_place)


def test_errors_never_show_the_password(postgres_url: str) -> None:
    with pytest.raises(DatabaseFailed) as caught:
        scan("postgresql://someone:hush-hush@127.0.0.1:1/nowhere?connect_timeout=2")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"target": "else"},
        {"cipher": "rot13"},
        {"compression": "gzip"},
        {"rate": 0},
        {"legacy_keys": [b"short"]},
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_touched(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        reencrypt(tmp_path / "nothing.db", Key.generate(), **options)

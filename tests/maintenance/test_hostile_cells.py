"""Whatever stands in a row becomes one reported failure of that row, and never the end of a run."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encrypted_serde import EncryptedSaver
from encrypted_serde.maintenance import expire, reencrypt, scan, verify
from encrypted_serde.rows.stored import find_part
from encrypted_serde.wrapping.inert import FOREIGN, Inert
from tests.maintenance import sql
from tests.maintenance.forms import BOTH, EVERYTHING, NEW_KEY, OLD_KEY, config_of, open_saver
from tests.maintenance.worker import counting_graph

CELLS: dict[str, Any] = {
    "deep JSON": ("[" * 100_000 + "]" * 100_000).encode(),
    "huge int": b'{"a":' + b"9" * 5000 + b"}",
    "bad UTF-8": b'{"a":"\xff"}',
    "number": 5,
    "list": b"[1]",
    "surrogate": b'{"a":"\\ud800"}',
    "surrogate key": b'{"\\ud800":1}',
    "bytes": b"\xff\xfe\x00",
    "text": "hello",
    "large number": 2**63 - 1,
    "long": "c" * 70_000,
    "nothing": None,
    "packed list": ormsgpack.packb({"channel_values": [1], "channel_versions": {}}),
    "packed depth": b"\x91" * 100_000 + b"\xc0",
    "no header": b"\xc1ES1\x00\x14msgpack+xaes-256-gcm\x01",
}


@pytest.mark.parametrize("kept", [["msgpack", 1 << 40], ["msgpack", 3], [1, b"x"], ["a"], 5, None, [[], []], ["msgpack", "x"]])
def test_what_stands_for_a_value_that_was_kept_as_it_was_takes_no_memory_and_ends_nothing(kept: Any) -> None:
    found = find_part(Inert(FOREIGN, ormsgpack.packb(kept)))
    assert found.form.kind == "undecodable"
    assert len(found.data) < 100


COLUMNS = {
    "checkpoints": ("thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint", "metadata"),
    "writes": ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "task_path", "idx", "channel", "type", "value"),
}
POSTGRES_COLUMNS = {
    "checkpoints": {"parent_checkpoint_id": "text", "checkpoint": "jsonb", "metadata": "jsonb", "checkpoint_id": "text"},
    "checkpoint_blobs": {"channel": "text", "version": "text", "type": "text", "blob": "bytea"},
    "checkpoint_writes": {"task_id": "text", "idx": "integer", "channel": "text", "type": "text", "blob": "bytea"},
}
_DOCUMENTS = [
    [],
    5,
    "text",
    None,
    {"channel_values": [1]},
    {"channel_values": {"a": {"b": 1}}, "channel_versions": 5},
    {"channel_values": {}, "channel_versions": {}, "pending_sends": 7},
    {"v": 4.0, "id": 7, "channel_values": {"a": 10**400}, "channel_versions": {"a": [1]}},
    {"es1": "es1.wUVTMQ"},
    {"es1": 5, "parents": [], "step": "x"},
]


def write_two_threads(place: str) -> None:
    """Writes an innocent thread, and one that is edited."""
    with open_saver(place) as plain:
        graph = counting_graph(EncryptedSaver(plain, OLD_KEY))
        for thread in ("edited", "innocent"):
            graph.invoke({"log": ["a"]}, config_of_thread(thread))


def config_of_thread(thread: str) -> dict[str, Any]:
    return {**config_of(thread), "configurable": {"thread_id": thread}}


def everything_runs_and_the_innocent_thread_is_done(place: str) -> None:
    """Runs all commands, and reads the innocent thread under the new key alone."""
    scan(place)
    expire(place, datetime(2020, 1, 1, tzinfo=timezone.utc))
    expire(place, datetime(2020, 1, 1, tzinfo=timezone.utc), keep_latest=True)
    verify(place, BOTH)
    for switches in ({}, EVERYTHING):
        reencrypt(place, BOTH, **switches, dry_run=True)
        done = reencrypt(place, BOTH, **switches)
        assert not [failure for failure in done.failures if failure.row.get("thread_id") == "innocent"]
        json.dumps(done.document())
    with open_saver(place) as plain:
        history = [*counting_graph(EncryptedSaver(plain, NEW_KEY)).get_state_history(config_of_thread("innocent"))]
    assert [state.values["log"] for state in history][:1] == [["a", 1, 2]]


@pytest.mark.parametrize("table", COLUMNS)
def test_no_cell_of_sqlite_ends_a_run(tmp_path: Any, table: str) -> None:
    for number, column in enumerate(COLUMNS[table]):
        place = str(tmp_path / f"{number}.sqlite")
        write_two_threads(place)
        rows = sql.run(place, f"SELECT rowid FROM {table} WHERE thread_id = 'edited'")
        for (rowid,), cell in zip(rows * 9, CELLS.values(), strict=False):
            sql.run(place, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = ?", cell, rowid)
            if column in ("checkpoint", "metadata", "value"):
                verify(place, OLD_KEY)
        everything_runs_and_the_innocent_thread_is_done(place)


def test_bad_utf_8_as_text_is_one_failure(tmp_path: Any) -> None:
    place = str(tmp_path / "one.sqlite")
    write_two_threads(place)
    sql.run(place, "UPDATE checkpoints SET thread_id = CAST(x'ff00' AS TEXT) WHERE thread_id = 'edited'")
    found = verify(place, OLD_KEY)
    assert {failure.row["thread_id"] for failure in found.failures} == {"b'\\xff\\x00'"}
    everything_runs_and_the_innocent_thread_is_done(place)


@pytest.mark.parametrize("table", POSTGRES_COLUMNS)
def test_no_cell_of_postgres_ends_a_run(postgres_url: str, table: str) -> None:
    write_two_threads(postgres_url)
    cells = {
        "text": ["", "x" * 5000, "msgpack+xaes-256-gcm", "pickle", "a+aes", "\x1b[2J"],
        "integer": [2**31 - 1, -(2**31)],
        "bytea": [b"", b"\xc1ES1", CELLS["no header"], CELLS["packed depth"], b"\x80\x04."],
        "jsonb": [json.dumps(document) for document in _DOCUMENTS],
    }
    for column, kind in POSTGRES_COLUMNS[table].items():
        rows = sql.run(postgres_url, f"SELECT ctid::text FROM {table} WHERE thread_id = 'edited'")
        for (ctid,), cell in zip(rows * 9, cells[kind], strict=False):
            sql.run(postgres_url, f"UPDATE {table} SET {column} = ?::{kind} WHERE ctid = ?::tid", cell, ctid)
        everything_runs_and_the_innocent_thread_is_done(postgres_url)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_random_cells_never_end_a_run(tmp_path: Any, data: st.DataObject) -> None:
    place = str(Path(tempfile.mkdtemp(dir=tmp_path)) / "one.sqlite")
    write_two_threads(place)
    cells = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=60), st.floats(), st.text(max_size=20))
    for table, columns in COLUMNS.items():
        column = data.draw(st.sampled_from(columns))
        cell = data.draw(cells)
        if isinstance(cell, str) and not cell.isascii():
            cell = cell.encode("utf-8", "surrogatepass")
        sql.run(place, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE thread_id = 'edited'", cell)
    everything_runs_and_the_innocent_thread_is_done(place)


def test_an_id_that_is_no_text_does_not_end_retention(tmp_path: Any) -> None:
    place = str(tmp_path / "checkpoints.sqlite")
    write_two_threads(place)
    threads = [thread for (thread,) in sql.run(place, "SELECT DISTINCT thread_id FROM checkpoints ORDER BY 1")]
    dated = b"1ef0000\xff-0000-6000-8000-000000000000".hex()
    sql.run(
        place,
        f"UPDATE checkpoints SET checkpoint_id = cast(x'{dated}' AS text) WHERE thread_id = ? AND rowid IN "
        "(SELECT min(rowid) FROM checkpoints GROUP BY thread_id)",
        threads[0],
    )
    for keep_latest in (True, False):
        done = expire(place, datetime.now(timezone.utc), keep_latest=keep_latest)
        assert done.threads >= 1
    assert sql.count(place, "checkpoints", "thread_id = ?", threads[1]) == 0

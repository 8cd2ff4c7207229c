"""Whatever somebody wrote into a row, a look at the database shows the rest, and never what was not verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from encrypted_serde import EncryptedSerdeError
from encrypted_serde.view import Refused, open_view, to_document
from encrypted_serde.view.lanes import lay_out
from tests.maintenance import sql
from tests.maintenance.forms import OLD_KEY
from tests.maintenance.test_hostile_cells import _DOCUMENTS, CELLS, COLUMNS, POSTGRES_COLUMNS, write_two_threads

PLANTED = "planted by somebody else"


def look_at_everything(place: str) -> dict[str, Any]:
    """Looks at all that can be looked at, as JSON too, and returns the newest state of the innocent thread."""
    with open_view(place, OLD_KEY) as view:
        for line in view.threads().lines:
            thread = view.thread(line.id)
            json.dumps(to_document([*thread.history()]))
            lay_out(thread.spots)
            for spot in thread.spots:
                try:
                    found = thread.checkpoint(spot.id, spot.namespace)
                    thread.changes_since_parent(found)
                except EncryptedSerdeError:  # a row that names none
                    continue
                json.dumps(to_document(found))
        assert PLANTED not in json.dumps(to_document(view.find(PLANTED)).get("occurrences"))
        state = view.thread("innocent").latest()
        assert state.line.refused is None
        channel = state.channel("log")
        assert channel is not None
        assert not isinstance(channel.value, Refused)
        return {"log": to_document(channel.value)}


@pytest.mark.slow
@pytest.mark.parametrize("table", COLUMNS)
def test_no_cell_of_sqlite_ends_a_look(tmp_path: Path, table: str) -> None:
    for number, column in enumerate(COLUMNS[table]):
        place = str(tmp_path / f"{number}.sqlite")
        write_two_threads(place)
        rows = sql.run(place, f"SELECT rowid FROM {table} WHERE thread_id = 'edited'")
        for (rowid,), cell in zip(rows * 9, [PLANTED, *CELLS.values()], strict=False):
            sql.run(place, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = ?", cell, rowid)
            if column in ("checkpoint", "metadata", "value", "checkpoint_id"):
                look_at_everything(place)
        assert look_at_everything(place) == {"log": ["a", 1, 2]}


@pytest.mark.slow
@pytest.mark.parametrize("table", POSTGRES_COLUMNS)
def test_no_cell_of_postgres_ends_a_look(postgres_url: str, table: str) -> None:
    write_two_threads(postgres_url)
    cells = {
        "text": ["", "x" * 5000, PLANTED, "msgpack+xaes-256-gcm", "pickle", "a+aes", "\x1b[2J"],
        "integer": [2**31 - 1, -(2**31)],
        "bytea": [b"", b"\xc1ES1", PLANTED.encode(), CELLS["no header"], CELLS["packed depth"], b"\x80\x04."],
        "jsonb": [json.dumps(document) for document in [*_DOCUMENTS, PLANTED, {"channel_values": {"log": PLANTED}}]],
    }
    for column, kind in POSTGRES_COLUMNS[table].items():
        rows = sql.run(postgres_url, f"SELECT ctid::text FROM {table} WHERE thread_id = 'edited'")
        for (ctid,), cell in zip(rows * 9, cells[kind], strict=False):
            sql.run(postgres_url, f"UPDATE {table} SET {column} = ?::{kind} WHERE ctid = ?::tid", cell, ctid)
        assert look_at_everything(postgres_url) == {"log": ["a", 1, 2]}


@pytest.mark.parametrize("column", ["parent_checkpoint_id", "metadata", "checkpoint"])
def test_what_was_planted_is_not_shown(tmp_path: Path, column: str) -> None:
    place = str(tmp_path / "one.sqlite")
    write_two_threads(place)
    planted = json.dumps({"source": PLANTED, "step": PLANTED}) if column == "metadata" else PLANTED
    sql.run(place, f"UPDATE checkpoints SET {column} = ? WHERE thread_id = 'edited'", planted)
    with open_view(place, OLD_KEY) as view:
        for spot in view.thread("edited").spots:
            found = view.thread("edited").checkpoint(spot.id)
            assert found.line.refused is not None
            assert PLANTED not in json.dumps(to_document(found.channels) + to_document(found.writes))
            assert found.metadata.pairs == ()
            assert found.line.source == ""


def test_rows_that_name_each_other_as_parents_do_not_hang(tmp_path: Path) -> None:
    place = str(tmp_path / "one.sqlite")
    write_two_threads(place)
    first, second = [
        each for (each,) in sql.run(place, "SELECT checkpoint_id FROM checkpoints WHERE thread_id = 'edited' LIMIT 2")
    ]
    for one, other in ((first, second), (second, first)):
        sql.run(place, "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE checkpoint_id = ?", one, other)
    look_at_everything(place)


def test_a_thread_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    place = str(tmp_path / "one.sqlite")
    write_two_threads(place)
    sql.run(place, "UPDATE checkpoints SET thread_id = CAST(x'ff00' AS TEXT) WHERE thread_id = 'edited'")
    with open_view(place, OLD_KEY) as view:
        lines = {line.id: line.refused and line.refused.error for line in view.threads().lines}
    assert lines == {"innocent": None, "b'\\xff\\x00'": "MalformedEnvelope"}

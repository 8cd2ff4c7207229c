"""Any cell of any table, overwritten with the cell of another row: the answer stays what it was, or is refused.

This is not a list of attacks but all of the simplest kind, so that one nobody thought of would be among them.
"""

from __future__ import annotations

import random
import sqlite3

import psycopg
import pytest
from psycopg.types.json import Jsonb

from encrypted_serde import EncryptedSerdeError
from tests.saver.databases import Place, SqliteDatabase
from tests.saver.threads import write_thread

_DONORS = 2
_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = ? ORDER BY ordinal_position"
_KEYS = {
    "checkpoints": ("thread_id", "checkpoint_ns", "checkpoint_id"),
    "checkpoint_blobs": ("thread_id", "checkpoint_ns", "channel", "version"),
    "writes": ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
    "checkpoint_writes": ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
}


def _columns(database, table):
    if isinstance(database, SqliteDatabase):
        return [row[1] for row in database.sql(f"PRAGMA table_info({table})")]
    return [name for (name,) in database.sql(_COLUMNS, table)]


def _answers(saver, places):
    answers = {}
    for place in places:
        try:
            answers[place] = saver.get_tuple(place.config)
        except EncryptedSerdeError as error:
            answers[place] = error
    return answers


def _is_lawful(before, after):
    """What somebody with write access may reach: a refusal, a missing row, no parent, a task whose writes count as absent."""
    if after is None or isinstance(after, EncryptedSerdeError):
        return True
    rest = iter(before.pending_writes)
    return (
        (after.checkpoint, after.metadata) == (before.checkpoint, before.metadata)
        and after.parent_config in (before.parent_config, None)
        and all(write in rest for write in after.pending_writes)
    )


def _edits(database, table, chance):
    """Yields each edit as how to do it and how to undo it."""
    columns, rows = _columns(database, table), database.sql(f"SELECT * FROM {table}")
    key = [columns.index(name) for name in _KEYS[table]]
    where = " AND ".join(f"{columns[position]} = ?" for position in key)
    for position, column in enumerate(columns):
        statement = f"UPDATE {table} SET {column} = ? WHERE {where}"
        for row in rows:
            others = [other[position] for other in rows if other[position] != row[position]]
            for value in chance.sample(others, min(_DONORS, len(others))):
                changed = [*row[:position], value, *row[position + 1 :]]
                yield (
                    (statement, _stored(value), *[row[part] for part in key]),
                    (statement, _stored(row[position]), *[changed[part] for part in key]),
                )


def _stored(value):
    return Jsonb(value) if isinstance(value, dict) else value


# rule T-7
def test_a_cell_copied_from_another_row_changes_no_answer(database):
    writer = database.saver()
    places = [*write_thread(writer, "one"), *write_thread(writer, "two"), *write_thread(writer, "one", "child")]
    reader = database.saver()
    before = _answers(reader, places)
    assert all(found.pending_writes for found in before.values())
    refused = edits = 0
    for table in database.tables:
        for edit, undo in _edits(database, table, random.Random(table)):
            try:
                database.sql(*edit)
            except (sqlite3.IntegrityError, psycopg.errors.UniqueViolation):
                if isinstance(database, SqliteDatabase):
                    database.connection.rollback()
                continue
            for place, after in _answers(reader, places).items():
                assert _is_lawful(before[place], after), (edit, place)
                refused += isinstance(after, EncryptedSerdeError)
            database.sql(*undo)
            edits += 1
    assert edits > 200
    assert refused > edits / 4
    assert _answers(reader, places) == before


@pytest.mark.parametrize("column", ["checkpoint", "metadata"])
def test_any_bit_changed_in_a_checkpoint_row_changes_no_answer(tmp_path, column):
    database = SqliteDatabase(tmp_path / "checkpoints.sqlite")
    [_, place] = write_thread(database.saver(), "one")
    before = database.saver().get_tuple(place.config)
    reader, chance = database.saver(), random.Random(3)
    [(stored,)] = database.sql(f"SELECT {column} FROM checkpoints WHERE checkpoint_id = ?", place.checkpoint_id)
    for _ in range(600):
        changed = bytearray(stored)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        database.sql(f"UPDATE checkpoints SET {column} = ? WHERE checkpoint_id = ?", bytes(changed), place.checkpoint_id)
        try:
            after = reader.get_tuple(Place(*place).config)
        except EncryptedSerdeError:
            continue
        except ValueError:  # SqliteSaver itself could not read its JSON
            assert column == "metadata"
            continue
        assert (after.checkpoint, after.metadata) == (before.checkpoint, before.metadata)
    database.connection.close()

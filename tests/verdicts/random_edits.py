"""One to three edits of stored rows, drawn from a seed; each from a seed of its own, so that the others can be left out."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import ormsgpack

from encrypted_serde.wrapping.inert import FOREIGN
from tests.verdicts.attacked import CHANNELS
from tests.verdicts.edits.checkpoints import put_at
from tests.verdicts.edits.table import Target, manifest_bytes, manifest_text
from tests.verdicts.readers import key_of
from tests.verdicts.rows import Extension, NotHere, Place, Row, Rows, place_of

JUNK: tuple[Any, ...] = (None, "", "made up", "es1.", "es1.AAAA", "es1s.made-up", 0, 7, -1, 0.5, True, [], ["x"], {}, {"a": 1})
TEXTS = ("", "made up", "one", "two", "child", "note", "log", "__resume__", "null", "msgpack", "bytes", "empty", "1")


class Op(NamedTuple):
    """One random edit.

    Attributes:
        kind: One of `KINDS`.
        seed: What it is drawn from.
    """

    kind: str
    seed: int


def draw(seed: int) -> tuple[Op, ...]:
    """Draws one to three edits."""
    rng = Random(seed)
    return tuple(Op(rng.choice(WEIGHTED), rng.randrange(2**32)) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def applied(ops: tuple[Op, ...], rows: Rows, target: Target) -> Rows:
    """Returns the rows of the threads that were edited. An edit that means nothing there is left out."""
    edited = rows.copy()
    for op in ops:
        with contextlib.suppress(NotHere, KeyError, TypeError, AttributeError, IndexError, ValueError):
            KINDS[op.kind](Random(op.seed), edited, target)
    return touched(rows, _settled(edited))


def touched(before: Rows, edited: Rows) -> Rows:
    """Leaves out the namespaces that are as they were, which every reader accepts."""
    old, new = _by_namespace(before), _by_namespace(edited)
    for rows in edited.tables.values():
        rows[:] = [row for row in rows if old.get(_namespace(row)) != new[_namespace(row)]]
    return edited


def _by_namespace(rows: Rows) -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    for table, stored in rows.tables.items():
        for row in stored:
            found.setdefault(_namespace(row), []).append(f"{table} {row!r}")
    return found


def _namespace(row: Row) -> tuple[str, str]:
    return repr(row["thread_id"]), repr(row["checkpoint_ns"])


def _settled(rows: Rows) -> Rows:
    """Leaves out what no table takes: two rows with one key, of which the later stays, and keys that are no text."""
    for table, found in rows.tables.items():
        found[:] = {key_of(table, row): row for row in found}.values()
    return rows


# --- cells and rows


def _table(rng: Random, rows: Rows) -> list[Row]:
    return rng.choice([found for found in rows.tables.values() if found])


def _copy_cell(rng: Random, rows: Rows, t: Target) -> None:
    table = _table(rng, rows)
    source, target = rng.choice(table), rng.choice(table)
    column = rng.choice(sorted(source))
    target[column] = copy.deepcopy(source[column])


def _swap_cells(rng: Random, rows: Rows, t: Target) -> None:
    table = _table(rng, rows)
    one, other = rng.choice(table), rng.choice(table)
    column = rng.choice(sorted(one))
    one[column], other[column] = other[column], one[column]


def _swap_rows(rng: Random, rows: Rows, t: Target) -> None:
    """Swaps everything but the keys."""
    table = _table(rng, rows)
    one, other = rng.choice(table), rng.choice(table)
    kept = ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "version")
    for column in set(one) - set(kept):
        one[column], other[column] = other[column], one[column]


def _delete_row(rng: Random, rows: Rows, t: Target) -> None:
    table = _table(rng, rows)
    table.remove(rng.choice(table))


def _double_row(rng: Random, rows: Rows, t: Target) -> None:
    """Adds a copy of a row, with a key column or two of another one."""
    table = _table(rng, rows)
    source, other = rng.choice(table), rng.choice(table)
    columns = [
        name
        for name in ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "version")
        if name in source
    ]
    for_key = rng.sample(columns, rng.choice((1, 1, 2)))
    table.append({**copy.deepcopy(source), **{name: other[name] for name in for_key}})


def _move_checkpoint(rng: Random, rows: Rows, t: Target) -> None:
    source, target = (place_of(rng.choice(rows.checkpoints)) for _ in range(2))
    if rng.random() < 0.3:
        target = target._replace(checkpoint_id=rng.choice(("zz", source.checkpoint_id)))
    put_at(rows, source, target)


def _text_cell(rng: Random, rows: Rows, t: Target) -> None:
    row = rng.choice(_table(rng, rows))
    column = rng.choice([name for name in row if name not in ("document", "metadata", "blob", "idx")])
    row[column] = rng.choice(TEXTS)


def _position(rng: Random, rows: Rows, t: Target) -> None:
    rng.choice(rows.writes)["idx"] = rng.choice((-1, -3, 0, 1, 2, 77))


# --- documents and metadata


def _part(rng: Random, rows: Rows) -> tuple[Row, Row]:
    name = rng.choice(("document", "metadata"))
    return rng.choice(rows.checkpoints)[name], rng.choice(rows.checkpoints)[name]


def _copy_key(rng: Random, rows: Rows, t: Target) -> None:
    source, target = _part(rng, rows)
    key = rng.choice(sorted(source))
    target[key] = copy.deepcopy(source[key])


def _junk_key(rng: Random, rows: Rows, t: Target) -> None:
    target, _ = _part(rng, rows)
    target[rng.choice([*sorted(target), "made up"])] = copy.deepcopy(rng.choice(JUNK))


def _drop_key(rng: Random, rows: Rows, t: Target) -> None:
    target, _ = _part(rng, rows)
    del target[rng.choice(sorted(target))]


def _version(rng: Random, rows: Rows, t: Target) -> None:
    """Changes, adds or removes a channel's version; sometimes the row of its value goes with it."""
    row = rng.choice(rows.checkpoints)
    versions, others = row["document"]["channel_versions"], rng.choice(rows.checkpoints)["document"]["channel_versions"]
    channel = rng.choice([*sorted(versions), "made up"])
    kind = rng.random()
    if kind < 0.2:
        del versions[channel]
    elif kind < 0.8:
        versions[channel] = others.get(channel) or rng.choice(sorted(others.values()))
    else:
        blob = rows.blob(place_of(row), channel)
        blob["version"] = versions[channel] = rng.choice(("made up", "7"))


def _manifest(rng: Random, rows: Rows, t: Target) -> None:
    """Puts the manifest of another row, or another sealed value, in its place."""
    row = rng.choice(rows.checkpoints)
    row["metadata"]["es1"] = _sealed_text(rng, rows, t)


def _plain_checkpoint(rng: Random, rows: Rows, t: Target) -> None:
    """Makes a row look as if it had never been encrypted."""
    row = rng.choice(rows.checkpoints)
    row["metadata"] = {"source": "loop", "step": 1, "parents": {}}
    if rng.random() < 0.5:
        row["document"]["channel_values"] = {"note": "made up"}


# --- values and writes


def _channel(rng: Random, rows: Rows) -> tuple[Place, str]:
    return place_of(rng.choice(rows.checkpoints)), rng.choice((*CHANNELS, "kept", "gone"))


def _move_value(rng: Random, rows: Rows, t: Target) -> None:
    source, target = _channel(rng, rows), _channel(rng, rows)
    if rng.random() < 0.6:
        target = (target[0], source[1])
    _put(rows, *target, rows.stored(*source))


def _put(rows: Rows, place: Place, channel: str, value: Any) -> None:
    """Stores a value as what its place can hold: text in a document of JSON, bytes in a row of its own."""
    is_text = rows.inlines and rows.inlined(place, channel)
    if is_text and isinstance(value, bytes):
        value = manifest_text(value)
    elif rows.values is not None and not is_text and not isinstance(value, bytes):
        value = manifest_bytes(value)
    rows.store(place, channel, copy.deepcopy(value))


def _add_value(rng: Random, rows: Rows, t: Target) -> None:
    """Puts a value into a document that has none of this channel."""
    place, channel = _channel(rng, rows)
    source, name = _channel(rng, rows)
    if rows.values is not None and not rows.inlines:
        raise NotHere
    value = rows.stored(source, name)
    if rows.inlines and isinstance(value, bytes):
        value = manifest_text(value)
    rows.at(place)["document"]["channel_values"][channel] = value


def _remove_value(rng: Random, rows: Rows, t: Target) -> None:
    rows.remove(*_channel(rng, rows))


def _junk_value(rng: Random, rows: Rows, t: Target) -> None:
    place, channel = _channel(rng, rows)
    if rows.values is None or rows.inlined(place, channel):
        rows.store(place, channel, copy.deepcopy(rng.choice(JUNK)))
    else:
        junk = rng.choice((b"", b"\xc0", b"\xa1x", b"\xc1ES1", b"x" * 40))
        rows.blob(place, channel).update(type=rng.choice(TEXTS), blob=junk)


def _of_another_key(rng: Random, rows: Rows, t: Target) -> None:
    """Takes a value, a write or a manifest of a stranger's database, or of another tenant."""
    strange, _ = rng.choice((t.stranger, t.tenant))
    kind = rng.randrange(3)
    if kind == 0:
        rng.choice(rows.checkpoints)["metadata"]["es1"] = rng.choice(strange.checkpoints)["metadata"]["es1"]
    elif kind == 1:
        rng.choice(rows.writes)["blob"] = rng.choice(strange.writes)["blob"]
    else:
        row = rng.choice(strange.checkpoints)
        place, channel = _channel(rng, rows)
        _put(rows, place, channel, strange.stored(place_of(row), channel))


def _sealed(rng: Random, rows: Rows, t: Target) -> bytes:
    """Takes any sealed value there is."""
    kind = rng.randrange(3)
    if kind == 0:
        return manifest_bytes(rng.choice(rows.checkpoints)["metadata"]["es1"])
    if kind == 1:
        return bytes(rng.choice(rows.writes)["blob"])
    found = rows.stored(*_channel(rng, rows))
    return manifest_bytes(found) if isinstance(found, str) else bytes(found)


def _sealed_text(rng: Random, rows: Rows, t: Target) -> str:
    return manifest_text(_sealed(rng, rows, t))


def _sealed_elsewhere(rng: Random, rows: Rows, t: Target) -> None:
    """Puts any sealed value in the place of any other."""
    if rng.random() < 0.5:
        rng.choice(rows.writes)["blob"] = _sealed(rng, rows, t)
        return
    _put(rows, *_channel(rng, rows), _sealed(rng, rows, t))


def _flip(rng: Random, rows: Rows, t: Target) -> None:
    kind = rng.randrange(3)
    if kind == 0:
        row = rng.choice(rows.checkpoints)["metadata"]
        row["es1"] = manifest_text(_flipped(rng, manifest_bytes(row["es1"])))
    elif kind == 1:
        row = rng.choice(rows.writes)
        row["blob"] = _flipped(rng, row["blob"])
    else:
        place, channel = _channel(rng, rows)
        found = rows.stored(place, channel)
        if isinstance(found, str):
            rows.store(place, channel, manifest_text(_flipped(rng, manifest_bytes(found))))
        elif isinstance(found, bytes):
            rows.store(place, channel, _flipped(rng, found))


def _flipped(rng: Random, found: bytes) -> bytes:
    changed = bytearray(found)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _wrap(rng: Random, rows: Rows, t: Target) -> None:
    """Wraps a value or a write in a snapshot of a delta channel."""
    inside = ormsgpack.packb(_sealed(rng, rows, t))
    packed = b"\xc8" + len(inside).to_bytes(2, "big") + b"\x07" + inside
    if rng.random() < 0.5:
        rng.choice(rows.writes).update(type="msgpack", blob=packed)
        return
    place, channel = _channel(rng, rows)
    if rows.values is None:
        rows.store(place, channel, Extension(7, inside))
    else:
        rows.blob(place, channel).update(type="msgpack", blob=packed)


def _pack(rng: Random, rows: Rows, t: Target) -> None:
    """Stores a value or a write as something else that would be packed from it."""
    row = rng.choice([*rows.writes, *(rows.values or ())])
    sealed, tag = bytes(row["blob"]), rng.choice(("bytes", "msgpack", "null"))
    forms = (sealed, manifest_text(sealed), None, [sealed], ormsgpack.Ext(FOREIGN, ormsgpack.packb((tag, sealed))))
    row.update(type="msgpack", blob=ormsgpack.packb(rng.choice(forms)) + rng.choice((b"", b"", b"\0")))


KINDS: dict[str, Callable[[Random, Rows, Target], None]] = {
    "copy a cell": _copy_cell,
    "swap cells": _swap_cells,
    "swap rows": _swap_rows,
    "delete a row": _delete_row,
    "double a row": _double_row,
    "move a checkpoint": _move_checkpoint,
    "text in a cell": _text_cell,
    "another position": _position,
    "copy a key": _copy_key,
    "junk in a key": _junk_key,
    "drop a key": _drop_key,
    "another version": _version,
    "another manifest": _manifest,
    "a plain checkpoint": _plain_checkpoint,
    "move a value": _move_value,
    "add a value": _add_value,
    "remove a value": _remove_value,
    "junk as a value": _junk_value,
    "of another key": _of_another_key,
    "sealed elsewhere": _sealed_elsewhere,
    "flip a bit": _flip,
    "wrap in a snapshot": _wrap,
    "pack once more": _pack,
}
WEIGHTED = (*KINDS, "copy a cell", "copy a cell", "double a row", "copy a key", "another version", "move a value")

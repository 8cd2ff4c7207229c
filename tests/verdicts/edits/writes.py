"""Edits of pending writes."""

from __future__ import annotations

from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, TASKS

from tests.verdicts.attacked import TASK_IDS
from tests.verdicts.edits.table import TAGS, Edit, Target, add, edit_named, raw
from tests.verdicts.rows import Place, Rows, place_of


def _written(channel: str, /, **columns: Any) -> Edit:
    return lambda rows, t: rows.written(t.here, channel)[0].update(columns)


def _written_from(source: str, channel: str) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        rows.written(t.here, channel)[0]["blob"] = rows.written(getattr(t, source), channel)[0]["blob"]

    return edit


def _doubled(rows: Rows, t: Target, **columns: Any) -> None:
    rows.writes.append({**rows.written(t.here, "note")[0], **columns})


def _all_written(rows: Rows, t: Target, source: Place) -> None:
    rows.writes[:] = [row for row in rows.writes if place_of(row) != t.here]
    rows.writes += [{**row, **t.here._asdict()} for row in rows.writes if place_of(row) == source]


def _unwritten(rows: Rows, t: Target, channel: str) -> None:
    for row in rows.written(t.here, channel):
        rows.writes.remove(row)


@edit_named("a write wrapped in a snapshot")
def _wrapped_write(rows: Rows, t: Target) -> None:
    inside = ormsgpack.packb(rows.written(t.here, "note")[0]["blob"])
    rows.written(t.here, "note")[0].update(type="msgpack", blob=b"\xc8" + len(inside).to_bytes(2, "big") + b"\x07" + inside)


@edit_named("a write is a foreign null")
def _null_write(rows: Rows, t: Target) -> None:
    rows.written(t.here, "note")[0].update(type="null", blob=b"")


@edit_named("two writes of a task swapped")
def _swapped_writes(rows: Rows, t: Target) -> None:
    first, second = rows.written(t.here, "items")
    first["blob"], second["blob"] = second["blob"], first["blob"]


@edit_named("a write to one channel of another")
def _write_of_another_channel(rows: Rows, t: Target) -> None:
    rows.written(t.here, "log")[0]["blob"] = rows.written(t.here, "note")[0]["blob"]


@edit_named("a value as a write")
def _value_as_write(rows: Rows, t: Target) -> None:
    rows.written(t.here, "log")[0]["blob"] = raw(rows.stored(t.here, "log"))


@edit_named("a write as a value")
def _write_as_value(rows: Rows, t: Target) -> None:
    rows.store(t.here, "log", rows.written(t.here, "log")[0]["blob"])


@edit_named("writes in another order")
def _reordered(rows: Rows, t: Target) -> None:
    for row in rows.written(t.here):
        row["idx"] = 100 - row["idx"]


add(
    {
        **{
            f"a write to {channel} of {source}": _written_from(source, channel)
            for channel in ("note", "log", "items", RESUME, TASKS)
            for source in ("old", "there", "child")
        },
        "all writes of the old row": lambda rows, t: _all_written(rows, t, t.old),
        "a write of another task": _written("note", task_id="00000000-0000-4000-8000-00000000000c"),
        "a write of the neighbour": _written("note", task_id=TASK_IDS[1], idx=9),
        "a write with another path": _written("note", task_path="~zz"),
        "a write at another position": _written("note", idx=77),
        "a write to another channel": _written("note", channel="other"),
        "an answer as an interrupt": _written(RESUME, channel=INTERRUPT, idx=-77),
        "an interrupt as an answer": _written(INTERRUPT, channel=RESUME, idx=-78),
        **{f"a write of type {tag!r}": _written("note", type=tag) for tag in TAGS},
        "a write in plaintext": _written("note", type="msgpack", blob=ormsgpack.packb("made up")),
        "a write more, in plaintext": lambda rows, t: _doubled(
            rows, t, task_id="00000000-0000-4000-8000-00000000000c", type="msgpack", blob=ormsgpack.packb("made up")
        ),
        "a write doubled": lambda rows, t: _doubled(rows, t, idx=77),
        "a write doubled as another task's": lambda rows, t: _doubled(rows, t, task_id="00000000-0000-4000-8000-00000000000c"),
        **{
            f"writes to {channel} removed": (lambda rows, t, c=channel: _unwritten(rows, t, c))
            for channel in ("note", RESUME, TASKS)
        },
        "all writes removed": lambda rows, t: [rows.writes.remove(row) for row in rows.written(t.here)],
        "a write without a checkpoint": lambda rows, t: _doubled(rows, t, checkpoint_id="nowhere"),
        "a write is cut": lambda rows, t: rows.written(t.here, "note")[0].update(
            blob=rows.written(t.here, "note")[0]["blob"][:-3]
        ),
    }
)

"""Edits of the values of channels."""

from __future__ import annotations

from typing import Any

import ormsgpack

from tests.verdicts.edits.table import TAGS, Edit, Target, add, edit_named, raw
from tests.verdicts.rows import Extension, NotHere, Place, Rows


def _value(channel: str, value: Any) -> Edit:
    return lambda rows, t: rows.store(t.here, channel, value)


def _value_from(source: str, channel: str, target: str | None = None) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        rows.store(t.here, target or channel, rows.stored(getattr(t, source), channel))

    return edit


@edit_named("a value under a stranger's key")
def _value_of_a_stranger(rows: Rows, t: Target) -> None:
    strange, place = t.stranger
    rows.store(t.here, "log", strange.stored(place, "log"))


@edit_named("a value of another context")
def _value_of_a_tenant(rows: Rows, t: Target) -> None:
    strange, place = t.tenant
    rows.store(t.here, "log", strange.stored(place, "log"))


@edit_named("a value wrapped in a snapshot")
def _wrapped(rows: Rows, t: Target) -> None:
    _store_extension(rows, t.here, "log", ormsgpack.packb(raw(rows.stored(t.here, "log"))))


@edit_named("a snapshot unwrapped")
def _unwrapped(rows: Rows, t: Target) -> None:
    if rows.values is None:
        inside = rows.stored(t.first, "items")
        rows.store(t.first, "items", ormsgpack.unpackb(inside.data))
    else:
        row = rows.blob(t.first, "items")
        inside = ormsgpack.unpackb(row["blob"], ext_hook=Extension)
        row.update(type="bytes", blob=ormsgpack.unpackb(inside.data))


@edit_named("a snapshot in a snapshot")
def _nested(rows: Rows, t: Target) -> None:
    row = rows.at(t.first)["document"]["channel_values"] if rows.values is None else rows.blob(t.first, "items")
    if rows.values is None:
        row["items"] = Extension(7, b"\xc7" + bytes([len(row["items"].data)]) + b"\x07" + row["items"].data)
    else:
        inside = row["blob"]
        row["blob"] = b"\xc8" + len(inside).to_bytes(2, "big") + b"\x07" + inside


@edit_named("a snapshot that is not listed")
def _unlisted_snapshot(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.at(t.here)["document"]["channel_values"]["items"] = rows.stored(t.first, "items")
    else:  # under a version of its own, which the newest checkpoint names
        rows.values.append({**rows.blob(t.first, "items"), "version": "made up"})
        rows.at(t.here)["document"]["channel_versions"]["items"] = "made up"


@edit_named("a value of the old version where the channel was not listed")
def _unlisted_value(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.at(t.here)["document"]["channel_values"]["gone"] = rows.stored(t.first, "gone")
    else:
        row = rows.blob(t.first, "gone")
        row["version"] = "made up"
        rows.at(t.here)["document"]["channel_versions"]["gone"] = "made up"


@edit_named("a channel that nobody wrote, in plaintext")
def _made_up_channel(rows: Rows, t: Target) -> None:
    document = rows.at(t.here)["document"]
    document["channel_versions"]["made up"] = document["channel_versions"]["note"]
    if rows.values is None or rows.inlines:
        document["channel_values"]["made up"] = "plaintext"
    else:
        rows.values.append({**rows.blob(t.here, "log"), "channel": "made up", "type": "msgpack", "blob": ormsgpack.packb("x")})


def _hidden(value: Any) -> Edit:
    """Puts something into a document of JSON that the value in a row of its own replaces on reading."""

    def edit(rows: Rows, t: Target) -> None:
        if not rows.inlines:
            raise NotHere
        rows.at(t.here)["document"]["channel_values"]["log"] = value(rows, t)

    return edit


add(
    {
        "plaintext behind a value": _hidden(lambda rows, t: "made up"),
        "None behind a value": _hidden(lambda rows, t: None),
        "the mark of a snapshot behind a value": _hidden(lambda rows, t: True),
        "a value of another channel behind a value": _hidden(lambda rows, t: rows.stored(t.here, "note")),
        "what cannot be opened behind a value": _hidden(lambda rows, t: "es1.AAAA"),
    }
)


@edit_named("the first bytes of a value flipped")
def _flipped(rows: Rows, t: Target) -> None:
    _flip(rows, t.here, 3)


@edit_named("the last byte of a value flipped")
def _flipped_last(rows: Rows, t: Target) -> None:
    _flip(rows, t.here, -1)


@edit_named("a byte of the claims flipped")
def _flipped_claims(rows: Rows, t: Target) -> None:
    _flip(rows, t.here, 70)


def _flip(rows: Rows, place: Place, number: int) -> None:
    changed = bytearray(raw(rows.stored(place, "log")))
    changed[number] ^= 1
    rows.store(place, "log", bytes(changed))


def _retyped(type_tag: str | None) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        found = rows.at(t.here) if rows.values is None else rows.blob(t.here, "log")
        found["type"] = type_tag

    return edit


add(
    {
        **{f"{channel} of the old row": _value_from("old", channel) for channel in ("note", "log", "count", "late")},
        **{f"{channel} of another thread": _value_from("there", channel) for channel in ("note", "log")},
        **{f"{channel} of another namespace": _value_from("child", channel) for channel in ("note", "log")},
        "two channels swapped": _value_from("here", "late", "log"),
        **{
            f"{channel} removed": (lambda rows, t, c=channel: rows.remove(t.here, c))
            for channel in ("note", "log", "nothing", "kept")
        },
        "a snapshot removed": lambda rows, t: rows.remove(t.first, "items"),
        **{
            f"{channel} is {value!r}": _value(channel, value)
            for channel in ("note", "count")
            for value in ("plaintext", "", "es1.", "es1.hello", 7, True, [], {"a": 1}, None)
        },
        "a value where None was": lambda rows, t: _replace_none(rows, t),
        "a value is empty": _value("log", b""),
        "a value is cut": lambda rows, t: rows.store(t.here, "log", raw(rows.stored(t.here, "log"))[:-5]),
        **{f"the type is {tag!r}": _retyped(tag) for tag in TAGS},
    }
)


def _replace_none(rows: Rows, t: Target) -> None:
    if rows.values is None or rows.inlined(t.here, "nothing"):
        rows.store(t.here, "nothing", "plaintext")
    else:
        rows.blob(t.here, "nothing").update(type="bytes", blob=rows.stored(t.here, "log"))


def _store_extension(rows: Rows, place: Place, channel: str, inside: bytes) -> None:
    if rows.values is None:
        rows.store(place, channel, Extension(7, inside))
    else:
        packed = b"\xc8" + len(inside).to_bytes(2, "big") + b"\x07" + inside
        rows.blob(place, channel).update(type="msgpack", blob=packed)

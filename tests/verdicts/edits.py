"""What somebody may do to stored rows, by name. Each is the same on every saver, or means nothing there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, TASKS

from encrypted_serde import EncryptedSaver, Key
from encrypted_serde.wrapping.inert import FOREIGN
from tests.verdicts import attacked
from tests.verdicts.attacked import TASK_IDS
from tests.verdicts.rows import Extension, NotHere, Place, Row, Rows, place_of


class Target(NamedTuple):
    """What there is to edit.

    Attributes:
        here: The newest checkpoint of thread ``one``: what most edits change.
        old, first: The two before it.
        there: The newest of another thread.
        child: The only one of another namespace.
        stranger: Rows of the same shape under another key; of the same place and under the same key, but another context.
    """

    here: Place
    old: Place
    first: Place
    there: Place
    child: Place
    stranger: tuple[Rows, Place]
    tenant: tuple[Rows, Place]


Edit = Callable[[Rows, Target], Any]
EDITS: dict[str, Edit] = {}


def _edit(name: str) -> Callable[[Edit], Edit]:
    def add(edit: Edit) -> Edit:
        EDITS[name] = edit
        return edit

    return add


def _all(names: dict[str, Edit]) -> None:
    EDITS.update(names)


# --- whole rows


def put_at(rows: Rows, source: Place, target: Place) -> None:
    """Puts a checkpoint with its writes where another one is, and the values it has."""
    versions = rows.at(source)["document"]["channel_versions"]
    rows.checkpoints[:] = [row for row in rows.checkpoints if place_of(row) != target]
    rows.writes[:] = [row for row in rows.writes if place_of(row) != target]
    for row in [*rows.checkpoints, *rows.writes]:
        if place_of(row) == source:
            row.update(target._asdict())
    if source[:2] != target[:2]:
        for row in rows.values or ():
            if (row["thread_id"], row["checkpoint_ns"]) == source[:2] and versions.get(row["channel"]) == row["version"]:
                _take_place_of_others(rows, row, target)


def _take_place_of_others(rows: Rows, row: Row, target: Place) -> None:
    key = (target.thread_id, target.checkpoint_ns, row["channel"], row["version"])
    names = ("thread_id", "checkpoint_ns", "channel", "version")
    rows.values[:] = [one for one in rows.values or () if one is row or tuple(one[name] for name in names) != key]  # type: ignore[index]
    row["thread_id"], row["checkpoint_ns"] = key[:2]


def _delete(rows: Rows, place: Place) -> None:
    rows.checkpoints.remove(rows.at(place))
    rows.writes[:] = [row for row in rows.writes if place_of(row) != place]


def _renamed(**column: str) -> Edit:
    return lambda rows, t: put_at(rows, t.here, t.here._replace(**column))


_all(
    {
        "nothing": lambda rows, t: None,
        "an old row under a newer id": lambda rows, t: put_at(rows, t.old, t.here),
        "a newer row under an old id": lambda rows, t: put_at(rows, t.here, t.old),
        "a row of another thread under a requested id": lambda rows, t: put_at(rows, t.there, t.here),
        "a row of another thread as the newest": lambda rows, t: put_at(rows, t.there, t.there._replace(thread_id="one")),
        "a row of another namespace": lambda rows, t: put_at(rows, t.child, t.here),
        "a row of the root in a namespace": lambda rows, t: put_at(rows, t.here, t.child),
        "another thread id": _renamed(thread_id="renamed"),
        "another namespace": _renamed(checkpoint_ns="renamed"),
        "another checkpoint id": _renamed(checkpoint_id="renamed"),
        "the newest row deleted": lambda rows, t: _delete(rows, t.here),
        "a row deleted from the middle": lambda rows, t: _delete(rows, t.old),
        "the first row deleted": lambda rows, t: _delete(rows, t.first),
    }
)


# --- columns of a checkpoint


def _column(rows: Rows, source: Place, target: Place, name: str) -> None:
    rows.at(target)[name] = copy.deepcopy(rows.at(source)[name])


def _document(**keys: Any) -> Edit:
    return lambda rows, t: rows.at(t.here)["document"].update(keys)


def _document_from(source: str, key: str) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        found = rows.at(getattr(t, source))["document"]
        rows.at(t.here)["document"][key] = copy.deepcopy(found[key])

    return edit


def _without(key: str) -> Edit:
    return lambda rows, t: rows.at(t.here)["document"].pop(key)


def _parent(of: Callable[[Target], str | None], at: str = "here") -> Edit:
    return lambda rows, t: rows.at(getattr(t, at)).update(parent_checkpoint_id=of(t))


def _version(channel: str) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        rows.at(t.here)["document"]["channel_versions"][channel] = rows.at(t.old)["document"]["channel_versions"][channel]

    return edit


_all(
    {
        **{
            f"{name} of an old row": (lambda rows, t, n=name: _column(rows, t.old, t.here, n))
            for name in ("document", "metadata")
        },
        **{
            f"{name} of another thread": (lambda rows, t, n=name: _column(rows, t.there, t.here, n))
            for name in ("document", "metadata")
        },
        "an old checkpoint with the newer id": lambda rows, t: (
            _column(rows, t.old, t.here, "document"),
            rows.at(t.here)["document"].update(id=t.here.checkpoint_id),
        ),
        "the parent is the grandparent": _parent(lambda t: t.first.checkpoint_id),
        "the parent is made up": _parent(lambda t: "00000000-0000-0000-0000-000000000000"),
        "the parent is itself": _parent(lambda t: t.here.checkpoint_id),
        "the parent is NULL": _parent(lambda t: None),
        "the parent is empty": _parent(lambda t: ""),
        "the first has a parent": _parent(lambda t: t.here.checkpoint_id, "first"),
        **{f"v is {value!r}": _document(v=value) for value in (1, 3, 5, True, 4.0, "4", None)},
        "the id is another": _document(id="00000000-0000-0000-0000-000000000000"),
        "the id of the old row": _document_from("old", "id"),
        "the time is another": _document(ts="2020-01-01T00:00:00+00:00"),
        "no time": _document(ts=None),
        "no channel versions": _document(channel_versions={}),
        "no versions seen": _document(versions_seen={}),
        "versions seen of the old row": _document_from("old", "versions_seen"),
        "a node saw a version": _document(versions_seen={"node": {"note": "99999999999999999999999999999999.0"}}),
        "no updated channels": _document(updated_channels=None),
        "other updated channels": _document(updated_channels=["note"]),
        "a key is made up": _document(made_up=1),
        "pending sends in plaintext": _document(pending_sends=["made up"]),
        **{
            f"{key} removed": _without(key)
            for key in ("v", "id", "ts", "versions_seen", "updated_channels", "channel_versions")
        },
        **{f"old version of {channel}": _version(channel) for channel in ("note", "log", "nothing", "late")},
        "a version removed": lambda rows, t: rows.at(t.here)["document"]["channel_versions"].pop("log"),
        "a version for a channel that never was": lambda rows, t: rows.at(t.here)["document"]["channel_versions"].update(
            never=rows.at(t.here)["document"]["channel_versions"]["log"]
        ),
        **{f"channel_values is {value!r}": _document(channel_values=value) for value in ({}, [], 5, None)},
        **{f"channel_versions is {value!r}": _document(channel_versions=value) for value in ([], 5, None)},
        "the document is no mapping": lambda rows, t: rows.at(t.here).update(document=[1, 2]),
        "v 3 with sends among the writes of the parent": lambda rows, t: rows.at(t.here)["document"].update(v=3),
    }
)


# --- metadata


def _metadata(**keys: Any) -> Edit:
    return lambda rows, t: rows.at(t.here)["metadata"].update(keys)


def _metadata_from(source: str, key: str) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        rows.at(t.here)["metadata"][key] = rows.at(getattr(t, source))["metadata"][key]

    return edit


@_edit("a sealed value as the manifest")
def _value_as_manifest(rows: Rows, t: Target) -> None:
    rows.at(t.here)["metadata"]["es1"] = manifest_text(_raw(rows.stored(t.here, "log")))


@_edit("a manifest as a value")
def _manifest_as_value(rows: Rows, t: Target) -> None:
    rows.store(t.here, "log", manifest_bytes(rows.at(t.here)["metadata"]["es1"]))


@_edit("a manifest under a stranger's key")
def _manifest_of_a_stranger(rows: Rows, t: Target) -> None:
    strange, place = t.stranger
    rows.at(t.here)["metadata"]["es1"] = strange.at(place)["metadata"]["es1"]


_all(
    {
        **{f"{key} is {value!r}": _metadata(**{key: value}) for key, value in {"source": "fork", "author": "made up"}.items()},
        **{f"step is {value!r}": _metadata(step=value) for value in (99, None, 2.0, True, "2", [2])},
        "parents are others": _metadata(parents={"": "x"}),
        "a run id": _metadata(run_id="other"),
        "counters of a delta channel": _metadata(counters_since_delta_snapshot={"items": [0, 0]}),
        "a metadata key is made up": _metadata(made_up="x"),
        "a token is made up": _metadata(user="es1s.made-up"),
        "a token is plaintext": _metadata(user="alice"),
        "no source": lambda rows, t: rows.at(t.here)["metadata"].pop("source"),
        "no parents": lambda rows, t: rows.at(t.here)["metadata"].pop("parents"),
        "no token": lambda rows, t: rows.at(t.here)["metadata"].pop("user"),
        "no manifest": lambda rows, t: rows.at(t.here)["metadata"].pop("es1"),
        "no metadata": lambda rows, t: rows.at(t.here).update(metadata={}),
        **{
            f"the metadata is {value!r}": (lambda rows, t, v=value: rows.at(t.here).update(metadata=v))
            for value in (5, "text", [])
        },
        **{
            f"the manifest is {v!r}": _metadata(es1=v) for v in ("", "es1.", "es1.AAAA", "made up", 5, None, ["es1."], {"a": 1})
        },
        **{f"the manifest of {source}": _metadata_from(source, "es1") for source in ("old", "there", "child")},
        "the step of the old row": _metadata_from("old", "step"),
    }
)


# --- values


def _value(channel: str, value: Any) -> Edit:
    return lambda rows, t: rows.store(t.here, channel, value)


def _value_from(source: str, channel: str, target: str | None = None) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        rows.store(t.here, target or channel, rows.stored(getattr(t, source), channel))

    return edit


@_edit("a value under a stranger's key")
def _value_of_a_stranger(rows: Rows, t: Target) -> None:
    strange, place = t.stranger
    rows.store(t.here, "log", strange.stored(place, "log"))


@_edit("a value of another context")
def _value_of_a_tenant(rows: Rows, t: Target) -> None:
    strange, place = t.tenant
    rows.store(t.here, "log", strange.stored(place, "log"))


@_edit("a value wrapped in a snapshot")
def _wrapped(rows: Rows, t: Target) -> None:
    _store_extension(rows, t.here, "log", ormsgpack.packb(_raw(rows.stored(t.here, "log"))))


@_edit("a snapshot unwrapped")
def _unwrapped(rows: Rows, t: Target) -> None:
    if rows.values is None:
        inside = rows.stored(t.first, "items")
        rows.store(t.first, "items", ormsgpack.unpackb(inside.data))
    else:
        row = rows.blob(t.first, "items")
        inside = ormsgpack.unpackb(row["blob"], ext_hook=Extension)
        row.update(type="bytes", blob=ormsgpack.unpackb(inside.data))


@_edit("a snapshot in a snapshot")
def _nested(rows: Rows, t: Target) -> None:
    row = rows.at(t.first)["document"]["channel_values"] if rows.values is None else rows.blob(t.first, "items")
    if rows.values is None:
        row["items"] = Extension(7, b"\xc7" + bytes([len(row["items"].data)]) + b"\x07" + row["items"].data)
    else:
        inside = row["blob"]
        row["blob"] = b"\xc8" + len(inside).to_bytes(2, "big") + b"\x07" + inside


@_edit("a snapshot that is not listed")
def _unlisted_snapshot(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.at(t.here)["document"]["channel_values"]["items"] = rows.stored(t.first, "items")
    else:  # under a version of its own, which the newest checkpoint names
        rows.values.append({**rows.blob(t.first, "items"), "version": "made up"})
        rows.at(t.here)["document"]["channel_versions"]["items"] = "made up"


@_edit("a value of the old version where the channel was not listed")
def _unlisted_value(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.at(t.here)["document"]["channel_values"]["gone"] = rows.stored(t.first, "gone")
    else:
        row = rows.blob(t.first, "gone")
        row["version"] = "made up"
        rows.at(t.here)["document"]["channel_versions"]["gone"] = "made up"


@_edit("a channel that nobody wrote, in plaintext")
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


_all(
    {
        "plaintext behind a value": _hidden(lambda rows, t: "made up"),
        "None behind a value": _hidden(lambda rows, t: None),
        "the mark of a snapshot behind a value": _hidden(lambda rows, t: True),
        "a value of another channel behind a value": _hidden(lambda rows, t: rows.stored(t.here, "note")),
        "what cannot be opened behind a value": _hidden(lambda rows, t: "es1.AAAA"),
    }
)


@_edit("the first bytes of a value flipped")
def _flipped(rows: Rows, t: Target) -> None:
    _flip(rows, t.here, 3)


@_edit("the last byte of a value flipped")
def _flipped_last(rows: Rows, t: Target) -> None:
    _flip(rows, t.here, -1)


@_edit("a byte of the claims flipped")
def _flipped_claims(rows: Rows, t: Target) -> None:
    _flip(rows, t.here, 70)


def _packed(rows: Rows, row: Any, value: Any) -> None:
    if rows.values is None:
        raise NotHere
    row.update(type="msgpack", blob=ormsgpack.packb(value))


@_edit("a value packed once more")
def _packed_value(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "log"), _raw(rows.stored(t.here, "log")))


@_edit("a value packed as text")
def _packed_text(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "log"), manifest_text(_raw(rows.stored(t.here, "log"))))


@_edit("a value is a packed None")
def _packed_none(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "log"), None)


@_edit("None is a packed None")
def _none_packed_none(rows: Rows, t: Target) -> None:
    _packed(rows, rows.blob(t.here, "nothing"), None)


def _foreign(type_tag: str, data: bytes) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(FOREIGN, ormsgpack.packb((type_tag, data))))


@_edit("a value as an inner saver packs a foreign one")
def _foreign_value(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.store(t.here, "log", Extension(FOREIGN, ormsgpack.packb(("bytes", rows.stored(t.here, "log")))))
    else:
        row = rows.blob(t.here, "log")
        row.update(type="msgpack", blob=_foreign("bytes", row["blob"]))


@_edit("a value is a foreign None")
def _foreign_none(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.store(t.here, "log", Extension(FOREIGN, ormsgpack.packb(("null", b""))))
    else:
        rows.blob(t.here, "log").update(type="msgpack", blob=_foreign("null", b""))


@_edit("a write as an inner saver packs a foreign one")
def _foreign_write(rows: Rows, t: Target) -> None:
    row = rows.written(t.here, "note")[0]
    row.update(type="msgpack", blob=_foreign("bytes", row["blob"]))


@_edit("bytes behind a packed text")
def _behind_text(rows: Rows, t: Target) -> None:
    write = rows.written(t.here, "note")[0]
    write.update(type="msgpack", blob=ormsgpack.packb(manifest_text(write["blob"])) + b"\0")


@_edit("bytes behind a snapshot")
def _behind_snapshot(rows: Rows, t: Target) -> None:
    if rows.values is None:
        rows.store(t.first, "items", Extension(7, rows.stored(t.first, "items").data + b"\0"))
    else:
        rows.blob(t.first, "items")["blob"] += b"\0"


@_edit("bytes behind a document")
def _behind_document(rows: Rows, t: Target) -> None:
    if rows.values is not None:
        raise NotHere
    rows.at(t.here)["document"] = pack_document(rows.at(t.here)["document"]) + b"\0"


@_edit("a document in an extension object")
def _wrapped_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, lambda packed: ormsgpack.packb(ormsgpack.Ext(5, packed)))


@_edit("a document in a snapshot")
def _snapshot_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, lambda packed: ormsgpack.packb(ormsgpack.Ext(7, packed)))


@_edit("a document in bytes")
def _bytes_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, ormsgpack.packb)


@_edit("a document is a packed None")
def _none_document(rows: Rows, t: Target) -> None:
    _replace_document(rows, t, lambda packed: b"\xc0")


def _replace_document(rows: Rows, t: Target, change: Callable[[bytes], bytes]) -> None:
    if rows.values is not None:
        raise NotHere
    row = rows.at(t.here)
    row["document"] = ormsgpack.unpackb(change(pack_document(row["document"])), ext_hook=Extension)


@_edit("a key of the document twice")
def _key_twice(rows: Rows, t: Target) -> None:
    if rows.values is not None:
        raise NotHere
    packed = pack_document(rows.at(t.here)["document"])
    rows.at(t.here)["document"] = bytes([packed[0] + 1]) + ormsgpack.packb("v") + b"\x09" + packed[1:]


def pack_document(document: Any) -> bytes:
    return ormsgpack.packb(document, default=lambda found: ormsgpack.Ext(found.code, found.data))


@_edit("a write packed once more")
def _packed_write(rows: Rows, t: Target) -> None:
    write = rows.written(t.here, "note")[0]
    write.update(type="msgpack", blob=ormsgpack.packb(write["blob"]))


@_edit("a write packed as text")
def _text_write(rows: Rows, t: Target) -> None:
    write = rows.written(t.here, "note")[0]
    write.update(type="msgpack", blob=ormsgpack.packb(manifest_text(write["blob"])))


@_edit("a write is a packed None")
def _none_write(rows: Rows, t: Target) -> None:
    rows.written(t.here, "note")[0].update(type="msgpack", blob=b"\xc0")


@_edit("a snapshot packed once more")
def _packed_snapshot(rows: Rows, t: Target) -> None:
    row = rows.blob(t.first, "items") if rows.values is not None else {}
    _packed(rows, row, row.get("blob"))


def _flip(rows: Rows, place: Place, number: int) -> None:
    changed = bytearray(_raw(rows.stored(place, "log")))
    changed[number] ^= 1
    rows.store(place, "log", bytes(changed))


def _retyped(type_tag: str | None) -> Edit:
    def edit(rows: Rows, t: Target) -> None:
        found = rows.at(t.here) if rows.values is None else rows.blob(t.here, "log")
        found["type"] = type_tag

    return edit


_TAGS = (
    "null",
    "empty",
    "msgpack",
    "json",
    "pickle",
    "bytearray",
    "nonsense",
    "msgpack+aes",
    "bytes+rot13",
    "msgpack+xaes-256-gcm",
    "",
)
_all(
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
        "a value is cut": lambda rows, t: rows.store(t.here, "log", _raw(rows.stored(t.here, "log"))[:-5]),
        **{f"the type is {tag!r}": _retyped(tag) for tag in _TAGS},
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


# --- writes


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


@_edit("a write wrapped in a snapshot")
def _wrapped_write(rows: Rows, t: Target) -> None:
    inside = ormsgpack.packb(rows.written(t.here, "note")[0]["blob"])
    rows.written(t.here, "note")[0].update(type="msgpack", blob=b"\xc8" + len(inside).to_bytes(2, "big") + b"\x07" + inside)


@_edit("a write is a foreign null")
def _null_write(rows: Rows, t: Target) -> None:
    rows.written(t.here, "note")[0].update(type="null", blob=b"")


@_edit("two writes of a task swapped")
def _swapped_writes(rows: Rows, t: Target) -> None:
    first, second = rows.written(t.here, "items")
    first["blob"], second["blob"] = second["blob"], first["blob"]


@_edit("a write to one channel of another")
def _write_of_another_channel(rows: Rows, t: Target) -> None:
    rows.written(t.here, "log")[0]["blob"] = rows.written(t.here, "note")[0]["blob"]


@_edit("a value as a write")
def _value_as_write(rows: Rows, t: Target) -> None:
    rows.written(t.here, "log")[0]["blob"] = _raw(rows.stored(t.here, "log"))


@_edit("a write as a value")
def _write_as_value(rows: Rows, t: Target) -> None:
    rows.store(t.here, "log", rows.written(t.here, "log")[0]["blob"])


@_edit("writes in another order")
def _reordered(rows: Rows, t: Target) -> None:
    for row in rows.written(t.here):
        row["idx"] = 100 - row["idx"]


_all(
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
        **{f"a write of type {tag!r}": _written("note", type=tag) for tag in _TAGS},
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


# --- sealed bytes and text


def _raw(stored: Any) -> bytes:
    if isinstance(stored, str):
        return manifest_bytes(stored)
    if not isinstance(stored, bytes):
        raise NotHere
    return stored


def manifest_bytes(text: str) -> bytes:
    """Returns the sealed bytes that sealed text stands for."""
    from encrypted_serde.core.encoding import b64url_decode

    return b64url_decode(text.removeprefix("es1."))


def manifest_text(sealed: bytes) -> str:
    """Returns sealed bytes as sealed text."""
    from encrypted_serde.core.encoding import b64url_encode

    return "es1." + b64url_encode(sealed)


def prepare(store: Any) -> tuple[Rows, Target]:
    """Writes what is edited.

    Returns:
        The rows, and what there is to edit in them.
    """
    own, store.key = store.key, Key.generate()
    stranger = _written_by(store, store.saver())
    store.key = own
    tenant = _written_by(store, store.saver(context={"tenant_id": "acme"}))
    store.home.clear()
    places = attacked.write(store.saver())
    first, old, here = places["one", ""]
    return store.load(), Target(here, old, first, places["two", ""][1], places["one", "child"][0], stranger, tenant)


def _written_by(store: Any, saver: EncryptedSaver) -> tuple[Rows, Place]:
    store.home.clear()
    places = attacked.write(saver)
    return store.load(), places["one", ""][2]

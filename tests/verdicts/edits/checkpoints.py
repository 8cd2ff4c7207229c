"""Edits of checkpoints: rows moved, replaced and deleted, columns changed, metadata made up."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.verdicts.edits.table import Edit, Target, add, edit_named, manifest_bytes, manifest_text, raw
from tests.verdicts.rows import Place, Row, Rows, place_of


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


add(
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


# --- columns


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


add(
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


@edit_named("a sealed value as the manifest")
def _value_as_manifest(rows: Rows, t: Target) -> None:
    rows.at(t.here)["metadata"]["es1"] = manifest_text(raw(rows.stored(t.here, "log")))


@edit_named("a manifest as a value")
def _manifest_as_value(rows: Rows, t: Target) -> None:
    rows.store(t.here, "log", manifest_bytes(rows.at(t.here)["metadata"]["es1"]))


@edit_named("a manifest under a stranger's key")
def _manifest_of_a_stranger(rows: Rows, t: Target) -> None:
    strange, place = t.stranger
    rows.at(t.here)["metadata"]["es1"] = strange.at(place)["metadata"]["es1"]


add(
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

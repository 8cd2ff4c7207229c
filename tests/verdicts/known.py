"""Faults that the table shows and that are not mended yet: what differs, on which savers, in which edits."""

from __future__ import annotations

_SQL = ("sqlite", "postgres", "mariadb")
_TAGS = ("null", "empty", "msgpack", "json", "pickle", "bytearray", "nonsense", "")

KNOWN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "get_tuple opens the manifest first, verify compares the id of the document first": (
        _SQL,
        ("an old row under a newer id", "a newer row under an old id", "another checkpoint id"),
    ),
    "a list instead of metadata has two names": (_SQL, ("the metadata is []",)),
    "bound bytes under the type of unbound ones have two names": (
        _SQL,
        ("the type is 'msgpack+xaes-256-gcm'", "a write of type 'msgpack+xaes-256-gcm'"),
    ),
    "verify passes a write in a snapshot, and reencrypt makes it good": (_SQL, ("a write wrapped in a snapshot",)),
    "going back to plaintext does not say that there is plaintext among what we sealed": (
        _SQL,
        (
            "a write is a foreign null",
            "a write in plaintext",
            "a write more, in plaintext",
            *(f"a write of type {tag!r}" for tag in _TAGS),
        ),
    ),
    "verify compares positions that the saver does not": (
        _SQL,
        ("two writes of a task swapped", "writes in another order", "a write at another position"),
    ),
    "going back to plaintext makes writes good that count as absent": (
        _SQL,
        ("writes to note removed", "writes to __pregel_tasks removed"),
    ),
    "going back to plaintext does not say that a value is plaintext beside its manifest": (
        ("postgres", "mariadb"),
        (
            "a snapshot in a snapshot",
            "the first bytes of a value flipped",
            "a value is empty",
            *(f"the type is {tag!r}" for tag in ("msgpack", "json", "pickle", "bytearray", "nonsense", "")),
        ),
    ),
    "maintenance has another name for a document that is none": (
        ("postgres", "mariadb"),
        ("pending sends in plaintext", "channel_values is []", "channel_values is None"),
    ),
    "verify takes MySQL's savers for ones that prune": (("mariadb",), ("the parent is NULL", "the parent is empty")),
}


def fault(kind: str, edit: str) -> str | None:
    """Returns what is known to differ on a kind of saver after an edit."""
    return next((name for name, (savers, edits) in KNOWN.items() if kind in savers and edit in edits), None)

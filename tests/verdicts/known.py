"""Faults that the table shows and that are not mended yet: what differs, on which savers, in which edits."""

from __future__ import annotations

_SQL = ("sqlite", "postgres", "mariadb")
_TAGS = ("null", "empty", "msgpack", "json", "pickle", "bytearray", "nonsense", "")

KNOWN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "going back to plaintext does not say that there is plaintext among what we sealed": (
        _SQL,
        (
            "a write is a foreign null",
            "a write in plaintext",
            "a write more, in plaintext",
            *(f"a write of type {tag!r}" for tag in _TAGS),
        ),
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
}


def fault(kind: str, edit: str) -> str | None:
    """Returns what is known to differ on a kind of saver after an edit."""
    return next((name for name, (savers, edits) in KNOWN.items() if kind in savers and edit in edits), None)

"""Faults that the table shows and that are not mended yet: what differs, on which savers, in which edits."""

from __future__ import annotations

KNOWN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "going back to plaintext takes a snapshot in a snapshot for one that was sealed": (
        ("postgres", "mariadb"),
        ("a snapshot in a snapshot",),
    ),
}


def fault(kind: str, edit: str) -> str | None:
    """Returns what is known to differ on a kind of saver after an edit."""
    return next((name for name, (savers, edits) in KNOWN.items() if kind in savers and edit in edits), None)


SAME: set[tuple[str, ...]] = {("MalformedEnvelope", "PlaintextRefused")}
"""What `get_tuple` and `verify` call one thing: a whole checkpoint of SQLite that was relabelled is none, and is not sealed."""

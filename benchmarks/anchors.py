"""Checkpointers with an anchor, to be compared with the same ones without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from encrypted_serde import EncryptedSaver, Key
from encrypted_serde.anchor import PostgresAnchor, SqliteAnchor

from .places import Setup

LAG = 0.1
"""Seconds that entries are put off, where they are."""


def _beside(saver: Any) -> Any:
    """Gives an anchor on the same disk or server as the saver's database: where it costs most."""
    if hasattr(saver.conn, "info"):
        return PostgresAnchor(saver.conn.info.dsn)
    [(_, _, path)] = saver.conn.execute("PRAGMA database_list")
    return SqliteAnchor(Path(path).with_name("anchor.db"))


def anchored(key: Key, max_lag: float | None = None) -> Setup:
    """Gives an `EncryptedSaver` with an anchor.

    Args:
        key: What it seals with.
        max_lag: As `EncryptedSaver` takes it.
    """
    name = "with an anchor" if max_lag is None else f"anchor, max_lag={max_lag:g}"
    wrap: Callable[[BaseCheckpointSaver], BaseCheckpointSaver] = lambda saver: EncryptedSaver(  # noqa: E731
        saver, key, anchor=_beside(saver), max_lag=max_lag
    )
    return Setup(name, wrap=wrap)

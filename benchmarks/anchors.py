"""Checkpointers with an anchor, to be compared with the same ones without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from encrypted_serde import EncryptedSaver, Key
from encrypted_serde.anchor import PostgresAnchor, SqliteAnchor

from .places import Setup


def _beside(saver: Any) -> Any:
    """Returns an anchor on the same disk or server as the saver's database: where it costs most."""
    if hasattr(saver.conn, "info"):
        anchor: Any = PostgresAnchor(saver.conn.info.dsn)
    else:
        [(_, _, path)] = saver.conn.execute("PRAGMA database_list")
        anchor = SqliteAnchor(Path(path).with_name("anchor.db"))
    anchor.setup()
    return anchor


def anchored(key: Key) -> Setup:
    """Returns an `EncryptedSaver` with an anchor.

    Args:
        key: What it seals with.
    """
    wrap: Callable[[BaseCheckpointSaver], BaseCheckpointSaver] = lambda saver: EncryptedSaver(  # noqa: E731
        saver, key, anchor=_beside(saver)
    )
    return Setup("with an anchor", wrap=wrap)

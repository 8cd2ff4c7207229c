"""The anchor: an append-only list, out of reach of those who write the database, that shows deletion and rollback."""

from .entries import Anchor, Entry, Kind
from .memory import MemoryAnchor
from .postgres import PostgresAnchor
from .sqlite import SqliteAnchor

__all__ = ["Anchor", "Entry", "Kind", "MemoryAnchor", "PostgresAnchor", "SqliteAnchor"]

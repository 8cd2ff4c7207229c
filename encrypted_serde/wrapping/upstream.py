"""Every name of LangGraph that is used and not public, or a constant on its wire. Read in langgraph-checkpoint 4.3.2.

Read this module again before you raise the lower bound of that dependency.
"""

from __future__ import annotations

from collections.abc import Collection

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.checkpoint.serde.types import _DeltaSnapshot as DeltaSnapshot

__all__ = ["TASKS", "DeltaSnapshot", "EncryptedSerializer"]  # what is handed on; the rest is of this module

DELTA_SNAPSHOT = 7
"""Code of the msgpack extension object that `JsonPlusSerializer` makes of a `DeltaSnapshot` (EXT_DELTA_SNAPSHOT)."""

ONE_ARGUMENT = 0
"""Code of the extension object of a class and its only argument, as enums are packed (EXT_CONSTRUCTOR_SINGLE_ARG)."""

DELTA_COUNTERS = "counters_since_delta_snapshot"
"""Metadata key that names the delta channels of a checkpoint, and how long ago each had a snapshot."""

NULL_TASK = "00000000-0000-0000-0000-000000000000"
"""Id under which LangGraph saves the writes of its input (langgraph._internal._constants.NULL_TASK_ID)."""

PICKLE = "pickle"
"""Inner type whose reading runs code of the writer's choice."""


def allowed_msgpack_modules(serde: object) -> object:
    """Returns the msgpack allowlist of a `JsonPlusSerializer`: True (everything), a collection, or None."""
    return getattr(serde, "_allowed_msgpack_modules", None)


def with_msgpack_allowlist(serde: SerializerProtocol, extra: Collection[tuple[str, ...]]) -> SerializerProtocol:
    """Returns a serializer with more types on its msgpack allowlist, as LangGraph itself does."""
    from langgraph.checkpoint.base import _with_msgpack_allowlist  # it imports half of LangChain: not for a serializer

    return _with_msgpack_allowlist(serde, extra)

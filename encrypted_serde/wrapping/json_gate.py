"""A gate for savers that store JSON and ask their serializer for more than the protocol: langgraph-checkpoint-redis.

Its savers call three private methods of their ``JsonPlusRedisSerializer`` to turn a checkpoint into JSON and back. There they
build objects of classes that a stored row names. Here they are inert: bytes and delta snapshots are marked and found again, and
nothing else is. (Read in langgraph-checkpoint-redis 0.5.2.)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..core.format import SEALED_TEXT_PREFIX
from .gate import Gate
from .upstream import DeltaSnapshot

_SEALED = b'"' + SEALED_TEXT_PREFIX.encode()
_SNAPSHOT = "__delta_snapshot__"


def is_needed_by(serde: object) -> bool:
    """Says whether a saver's serializer is one whose private methods the saver calls."""
    return hasattr(serde, "_preprocess_redis_json")


class JsonGate(Gate):
    """The serializer of an inner saver that asks for JSON. See the module."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Packs as `Gate` does, but for dicts that JSON can hold: those savers decode what they got for metadata."""
        if isinstance(obj, dict):
            try:
                return "json", json.dumps(self._preprocess_redis_json(obj), allow_nan=False).encode()
            except (TypeError, ValueError):
                pass  # bytes: the saver itself has them marked then
        return super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Unpacks as `Gate` does, and plain JSON of what this gate packed. JSON without anything sealed is foreign."""
        type_tag, blob = data
        if type_tag == "json" and isinstance(blob, bytes) and _SEALED in blob:
            try:
                parsed = json.loads(blob)
            except (ValueError, RecursionError):
                parsed = None
            if isinstance(parsed, dict):
                return parsed
        return super().loads_typed(data)

    def _preprocess_redis_json(self, obj: Any, *, encode_bytes: Callable[[bytes], Any] | None = None) -> Any:
        if isinstance(obj, bytes):
            return obj if encode_bytes is None else {"__bytes__": encode_bytes(obj)}
        if isinstance(obj, DeltaSnapshot):
            return {_SNAPSHOT: True, "value": self._preprocess_redis_json(obj.value, encode_bytes=encode_bytes)}
        if isinstance(obj, dict):
            return {name: self._preprocess_redis_json(item, encode_bytes=encode_bytes) for name, item in obj.items()}
        if isinstance(obj, (list, tuple)):
            return [self._preprocess_redis_json(item, encode_bytes=encode_bytes) for item in obj]
        return obj

    def _default_handler(self, obj: Any) -> Any:
        raise TypeError(f"an inner saver asked to store a {type(obj).__name__}, which was not handed to it sealed")

    def _revive_if_needed(self, obj: Any) -> Any:
        """Returns back what it is given: a dict that names a class stays a dict."""
        is_snapshot = isinstance(obj, dict) and obj.get(_SNAPSHOT) is True and obj.keys() == {_SNAPSHOT, "value"}
        return DeltaSnapshot(obj["value"]) if is_snapshot else obj

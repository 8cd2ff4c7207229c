"""The manifest: one sealed text per checkpoint that vouches for all of it that is readable, and lists what must be there.

Values are sealed one by one and bound to their channel. That alone would let somebody who can write rows leave one out, put
an old checkpoint under a newer id or edit what steers execution (``channel_versions``, ``updated_channels``, the parent).
The manifest stands in the metadata under the key ``es1``, bound to thread, namespace and checkpoint id, and holds

* the checkpoint's id and its parent's,
* which channels have a value and which have None,
* the private metadata: every key that LangGraph does not need to read,
* a digest of the readable metadata and of every checkpoint key but the channel values and pending sends.

It holds no digests of stored values: savers keep the first blob they were given for a version.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.serde.types import TASKS

from ..errors import ConfigurationError, MalformedEnvelope

KEY = "es1"
"""The metadata key under which the manifest stands."""

LANGGRAPH_KEYS = frozenset({"source", "step", "parents", "run_id", "counters_since_delta_snapshot", "delta_writes_versioned"})
"""Metadata keys that LangGraph and its savers read in the database."""

DIGEST_SIZE = 16
_NOT_DIGESTED = frozenset({"channel_values", "pending_sends"})
_EXACT_INT = 1 << 53
_FLOAT = b"\xcb"  # how msgpack begins a float; where it occurs, there may be one to be normalised


class Manifest(NamedTuple):
    """What is sealed per checkpoint.

    Attributes:
        checkpoint_id: Id of the checkpoint.
        parent_id: Id of its parent, or None.
        values: Channels that have a value.
        nones: Channels whose value is None.
        private: The private metadata, as the pair that the serializer gave.
        digest: 16 bytes, see `digest`.
    """

    checkpoint_id: str
    parent_id: str | None
    values: list[str]
    nones: list[str]
    private: tuple[str, bytes]
    digest: bytes

    def pack(self) -> bytes:
        """Encodes it as a msgpack array, in the order of the attributes."""
        return ormsgpack.packb(tuple(self))

    @classmethod
    def unpack(cls, packed: bytes) -> Manifest:
        """Reads what `pack` wrote.

        Raises:
            MalformedEnvelope: If it is something else; a newer release may have written it.
        """
        try:
            checkpoint_id, parent_id, values, nones, (inner_type, private), stored = ormsgpack.unpackb(packed)
        except ValueError:
            raise MalformedEnvelope("the manifest has an unknown form") from None
        return cls(checkpoint_id, parent_id, values, nones, (inner_type, private), stored)


def digest(checkpoint: Mapping[str, Any], readable: Mapping[str, Any]) -> bytes:
    """Hashes what stands readable in a row: SHA-256 of msgpack of ``[checkpoint, metadata]``, first 16 bytes.

    Both are in the form that no saver's JSON changes: keys as text and sorted, tuples and sets as lists, whole floats as
    integers. For checkpoints of format below 4 the version of ``__pregel_tasks`` is left out, since savers add it while
    they load.

    Raises:
        ConfigurationError: If something in it is no JSON.
    """
    covered = {name: value for name, value in checkpoint.items() if name not in _NOT_DIGESTED}
    if is_before_v4(checkpoint):
        versions = covered.get("channel_versions") or {}
        covered["channel_versions"] = {channel: v for channel, v in versions.items() if channel != TASKS}
    return hashlib.sha256(_canonical([covered, readable])).digest()[:DIGEST_SIZE]


def _canonical(value: Any) -> bytes:
    try:
        packed = ormsgpack.packb(value, option=ormsgpack.OPT_SORT_KEYS)
    except TypeError:
        pass  # a key that is no text, a set, a mapping that is no dict
    else:
        if _FLOAT not in packed:
            return packed
    try:
        return ormsgpack.packb(_normal(value), option=ormsgpack.OPT_SORT_KEYS)
    except (TypeError, RecursionError):
        raise ConfigurationError("a checkpoint or its readable metadata holds something that is no JSON") from None


def is_before_v4(checkpoint: Mapping[str, Any]) -> bool:
    """Says whether a checkpoint is of a format whose sends stand in its parent's writes."""
    version = checkpoint.get("v")
    return not isinstance(version, int) or version < 4


def _normal(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {str(name): _normal(item) for name, item in value.items()}
    if kind is list or isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_normal(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def split_metadata(metadata: Mapping[str, Any], readable_keys: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divides metadata into what stays readable and what is sealed.

    A key that should be readable, but whose value would come back changed from a JSON column, is sealed instead.

    Returns:
        The readable and the private part.
    """
    readable: dict[str, Any] = {}
    private: dict[str, Any] = {}
    for name, value in metadata.items():
        part = readable if name in readable_keys and survives_json(value) else private
        part[name] = value
    return readable, private


def survives_json(value: Any) -> bool:
    """Says whether every saver's JSON gives a value back as it was (tuples may come back as lists)."""
    kind = type(value)
    if isinstance(value, str):
        return kind is str and _is_clean_text(value)
    if kind is bool or value is None:
        return True
    if isinstance(value, int):
        return kind is int and -_EXACT_INT <= value <= _EXACT_INT
    if isinstance(value, float):
        # Postgres gives 1e16 back as an int, and -0.0 as 0.0.
        return math.isfinite(value) and abs(value) < 1e15 and not (value == 0 and math.copysign(1, value) < 0)
    if kind is dict:
        return all(type(name) is str and survives_json(name) and survives_json(item) for name, item in value.items())
    if kind is list or kind is tuple:
        return all(survives_json(item) for item in value)
    return False


def _is_clean_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return "\0" not in text

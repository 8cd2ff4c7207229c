"""The manifest: one sealed text per checkpoint that covers all of it that is readable, and lists what must be there.

Values are sealed one by one and bound to their channel. That alone would let somebody who can write rows leave one out, put
an old checkpoint under a newer id or edit what steers execution (``channel_versions``, ``updated_channels``, the parent).
The manifest is stored in the metadata under the key ``es1``, bound to thread, namespace and checkpoint id, and holds

* the checkpoint's id and its parent's,
* of which channels a value is stored, and of which None (`stored` says which these are),
* the private metadata: every key that LangGraph does not need to read,
* a digest of the readable metadata and of every checkpoint key but the channel values and pending sends.

It holds no digests of stored values: savers keep the first blob they were given for a version.

The digest is taken over a normal form, since savers change what they store (a tuple becomes a list, a whole float an int). What
a reader is given is that normal form and nothing else: what was stored decides nothing once its digest was compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import ormsgpack

from ..errors import ConfigurationError, MalformedEnvelope, WrongLocation
from ..wrapping.upstream import DELTA_COUNTERS

if TYPE_CHECKING:
    from .parts import Parts
    from .verify import Rules

KEY = "es1"
"""The metadata key that holds the manifest."""

LANGGRAPH_KEYS = frozenset({"source", "step", "parents", "run_id", DELTA_COUNTERS, "delta_writes_versioned"})
"""Metadata keys that LangGraph and its savers read in the database."""

DIGEST_SIZE = 16
_NOT_DIGESTED = "channel_values", "pending_sends"
_EXACT_INT = 1 << 53
_FLOAT = b"\xcb"  # how msgpack begins a float; where it occurs, there may be one to be normalised
# ormsgpack packs these as text by itself. No saver's JSON or msgpack gives them back, so nothing we digest holds them.
_OPTION = (
    ormsgpack.OPT_SORT_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


class Manifest(NamedTuple):
    """What is sealed per checkpoint.

    Attributes:
        checkpoint_id: Id of the checkpoint.
        parent_id: Id of its parent, or None.
        values: Channels of which a value is stored.
        nones: Channels of which None is stored.
        private: The private metadata, as the pair that the serializer gave.
        digest: 16 bytes, see `digest`.
    """

    checkpoint_id: str
    parent_id: str | None
    values: list[str]
    nones: list[str]
    private: tuple[str, bytes]
    digest: bytes

    def __repr__(self) -> str:  # error reporters show the variables of a frame
        return f"<Manifest of {self.checkpoint_id!r}>"

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
        except (TypeError, ValueError):
            raise MalformedEnvelope("the manifest has an unknown form") from None
        return cls(checkpoint_id, parent_id, values, nones, (inner_type, private), stored)

    def verify(self, parts: Parts, rules: Rules) -> tuple[dict[str, Any], dict[str, Any]]:
        """Compares all that is readable in a row with the manifest. `check_channels` does the rest.

        Returns:
            The checkpoint, without channel values and pending sends, and the readable metadata: in their normal form, which is
            what may be used from here on.

        Raises:
            WrongLocation: If it is the manifest of another checkpoint, or something in the row was changed.
            MalformedEnvelope: If ``v`` or ``step`` is not the exact integer that it must be.
        """
        checkpoint = _without(parts.document, (*_NOT_DIGESTED, *rules.added_keys))
        metadata = _without(parts.metadata, (KEY,))
        if not parts.checkpoint_id == checkpoint.get("id") == self.checkpoint_id:
            raise WrongLocation("the checkpoint in this row is another one than the row says")
        for owner, name in ((checkpoint, "v"), (metadata, "step")):
            if name in owner and type(owner[name]) is not int:
                raise MalformedEnvelope(f"{name!r} of the checkpoint is no integer")
        try:
            normal = _normal_form(checkpoint, metadata)
        except ConfigurationError:  # something that is no JSON, which we digest never
            raise WrongLocation("the readable part of the checkpoint or of its metadata was changed") from None
        if _hash(normal) != self.digest:
            raise WrongLocation("the readable part of the checkpoint or of its metadata was changed")
        document, readable = ormsgpack.unpackb(normal)
        # prune(keep_latest) leaves the checkpoint it keeps without a parent, but refuses threads with delta channels.
        may_be_gone = rules.has_no_parents or (rules.prunes and DELTA_COUNTERS not in readable)
        is_orphan = not parts.parent_id and may_be_gone
        if (parts.parent_id or None) != (self.parent_id or None) and not is_orphan:  # an empty id is none
            raise WrongLocation("the checkpoint has another parent than it was written with")
        return document, readable

    def check_channels(self, values: Collection[str], nones: Collection[str], is_by_version: Callable[[str], bool]) -> None:
        """Compares the channels of a row with those that the manifest lists.

        Savers that store one value per channel and version return every value that the checkpoint's versions name, also of
        a channel that the graph has lost, or keeps in another way now. Such a value proves by its sealed version that it
        belongs to this checkpoint; so it need not be listed.

        Args:
            values: Channels that have a value there.
            nones: Channels whose value is None there.
            is_by_version: Says of one of the first whether its value is sealed, in a row of its own, and found by the version
                that the verified checkpoint names.

        Raises:
            WrongLocation: If one is missing, or one is too many.
        """
        if {*values} == {*self.values} and {*nones} == {*self.nones}:
            return
        for channel in self.values:
            if channel not in values:
                raise WrongLocation(f"the value of channel {channel!r} is missing")
        for channel in self.nones:
            if channel not in nones and not (channel in values and is_by_version(channel)):
                raise WrongLocation(f"channel {channel!r} was written as None, and is not")
        for channel in {*values, *nones} - {*self.values, *self.nones}:
            if channel not in values or not is_by_version(channel):
                raise WrongLocation(f"channel {channel!r} had no value when the checkpoint was written")


def digest(checkpoint: Mapping[str, Any], readable: Mapping[str, Any]) -> bytes:
    """Hashes what is readable in a row: SHA-256 of msgpack of ``[checkpoint, metadata]``, first 16 bytes.

    Both are in the form that no saver's JSON changes: keys as text and sorted, tuples and sets as lists, whole floats as
    integers.

    Raises:
        ConfigurationError: If something in it is no JSON.
    """
    return _hash(_normal_form(_without(checkpoint, _NOT_DIGESTED), readable))


def _hash(normal: bytes) -> bytes:
    return hashlib.sha256(normal).digest()[:DIGEST_SIZE]


def _normal_form(*value: Mapping[str, Any]) -> bytes:
    try:
        packed = ormsgpack.packb(value, option=_OPTION)
    except TypeError:
        pass  # a key that is no text, a set, a mapping that is no dict
    else:
        if _FLOAT not in packed:
            return packed
    try:
        return ormsgpack.packb(_normal(value), option=_OPTION)
    except (TypeError, RecursionError):
        raise ConfigurationError("a checkpoint or its readable metadata holds something that is no JSON") from None


def _without(mapping: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    left = dict(mapping)
    for name in names:
        left.pop(name, None)
    return left


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
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(value)
    return str(value) if isinstance(value, str) else int(value) if isinstance(value, int) else value


def split_metadata(metadata: Mapping[str, Any], readable_keys: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divides metadata into what stays readable and what is sealed.

    A key that should be readable, but whose value would come back changed from a JSON column, is sealed instead; and so is a
    step that is no integer, which a reader would refuse.

    Args:
        metadata: All of them.
        readable_keys: Keys that stay readable, besides those that LangGraph reads.

    Returns:
        The readable and the private part.
    """
    readable: dict[str, Any] = {}
    private: dict[str, Any] = {}
    for name, value in metadata.items():
        is_readable = name in LANGGRAPH_KEYS or name in readable_keys
        if is_readable and survives_json(value) and (name != "step" or type(value) is int):
            readable[name] = value
        else:
            private[name] = value
    return readable, private


def survives_json(value: object) -> bool:
    """Says whether every saver's JSON, and the normal form, give a value back as it was (tuples may come back as lists)."""
    if type(value) is str:
        return value.isprintable() or _is_clean_text(value)
    if type(value) is bool or value is None:
        return True
    if type(value) is int:
        return -_EXACT_INT <= value <= _EXACT_INT
    if type(value) is float:
        return not value.is_integer() and math.isfinite(value)
    if type(value) is dict:
        items = value.items()
        return not items or all(type(name) is str and survives_json(name) and survives_json(item) for name, item in items)
    if type(value) is list or type(value) is tuple:
        return all(survives_json(item) for item in value)
    return False


def _is_clean_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return "\0" not in text

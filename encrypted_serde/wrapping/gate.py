"""The gate: the serializer that the inner saver is given, so that no object is ever built inside it.

An inner saver deserializes before its wrapper sees anything. With LangGraph's own serializer in it, one row edited by SQL
runs code there. The gate writes and reads only what is inert: null, bytes, msgpack without extension types, and a
`_DeltaSnapshot` around these. Everything else comes out as a `Foreign` object that carries the stored bytes unread; the
wrapper refuses it, or decodes it under a switch that the operator set.

The gate never raises on a read: some savers turn any error into "no checkpoint", and the thread would start afresh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from ..core.envelope import Sealer, split_type_tag
from ..errors import EncryptedSerdeError, PlaintextRefused, WrongLocation
from ..serializer import NEVER_PLAINTEXT
from .legacy import CIPHER as LEGACY_CIPHER
from .legacy import LegacyReader

_EXT_DELTA_SNAPSHOT = 7  # as JsonPlusSerializer writes it
_EXT_FOREIGN = 100  # ours; only ever inside a value that a saver packs again after it unpacked it
_PACK = ormsgpack.OPT_NON_STR_KEYS
_UNPACK = ormsgpack.OPT_NON_STR_KEYS


PLAINTEXT, LEGACY, UNBOUND = "plaintext", "legacy", "unbound"
"""What can be admitted besides values that were sealed for their place."""


class Deferred:
    """A value that will be sealed when the inner saver asks for its bytes, in the thread in which it asks, and only once.

    Savers pass over values they have stored already; those are then never serialized at all.
    """

    __slots__ = ("_seal", "_sealed")

    def __init__(self, seal: Callable[[], bytes]) -> None:
        self._seal: Callable[[], bytes] | None = seal
        self._sealed = b""

    def sealed(self) -> bytes:
        """Gives the sealed bytes."""
        if (seal := self._seal) is not None:
            self._sealed, self._seal = seal(), None
        return self._sealed


class Inert:
    """A msgpack extension object that was not interpreted."""

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        self.code, self.data = code, data


class Foreign(Mapping[str, Any]):
    """A stored value that was not sealed for its place.

    It is a mapping only because inner savers look into what they take for a checkpoint or for metadata. Where the value is
    admitted and was packed from a dict, these are its entries, uninterpreted.

    Attributes:
        type_tag: As stored.
        data: As stored.
        error: Why it is refused; None if a switch admits it.
        inner_type: Format of the plaintext, where it is admitted.
        plaintext: The serialized value, where it is admitted.
        legacy: Whether the plaintext comes with a type that was not authenticated.
        entries: What it holds as a mapping.
    """

    __slots__ = ("data", "entries", "error", "inner_type", "legacy", "plaintext", "type_tag")

    def __init__(self, type_tag: str, data: bytes) -> None:
        self.type_tag, self.data = type_tag, data
        self.error: EncryptedSerdeError | None = None
        self.inner_type, self.plaintext, self.legacy = "", b"", False
        self.entries: dict[str, Any] = {"channel_versions": {}}

    def __getitem__(self, name: str) -> Any:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class Admission:
    """Which values that were not sealed for their place are read all the same: the switches of `EncryptedSaver`.

    Args:
        sealer: Opens unbound values of our own serializer.
        plaintext: Values that were never encrypted are admitted, but never ``pickle``.
        unbound: Values that `EncryptedSerializer` sealed are admitted.
        legacy: Opens values of langgraph's own `EncryptedSerializer`; falsy if none are admitted.

    Attributes:
        admitted: How many values of each kind were read because of a switch.
    """

    def __init__(self, sealer: Sealer, *, plaintext: bool, unbound: bool, legacy: LegacyReader) -> None:
        self.sealer = sealer
        self.plaintext = plaintext
        self.unbound = unbound
        self.legacy = legacy
        self.admitted: Counter[str] = Counter()

    def with_allowlist(self, extra_allowlist: Iterable[tuple[str, ...]]) -> Admission:
        """Gives these switches with more types on the allowlist of the strict serializer for legacy values."""
        legacy = self.legacy.with_msgpack_allowlist(extra_allowlist)
        clone = Admission(self.sealer, plaintext=self.plaintext, unbound=self.unbound, legacy=legacy)
        clone.admitted = self.admitted
        return clone

    def __bool__(self) -> bool:
        return self.plaintext or self.unbound or bool(self.legacy)

    def admit(self, foreign: Foreign) -> None:
        """Opens a foreign value if a switch is on for its kind, and notes the plaintext or the reason for refusal."""
        try:
            foreign.inner_type, foreign.plaintext = self._open(foreign.type_tag, foreign.data)
            foreign.legacy = foreign.type_tag.endswith(f"+{LEGACY_CIPHER}")
        except EncryptedSerdeError as error:
            foreign.error = error

    def _open(self, type_tag: str, data: bytes) -> tuple[str, bytes]:
        inner_type, plus, cipher = type_tag.rpartition("+")
        if not plus:
            if type_tag in NEVER_PLAINTEXT or not self.plaintext:
                raise PlaintextRefused(f"a value of type {type_tag!r} that was never sealed stands where sealed ones belong")
            return type_tag, data
        if cipher == LEGACY_CIPHER and self.legacy:
            return inner_type, self.legacy.open(inner_type, data)
        split_type_tag(type_tag)
        if not self.unbound:
            raise WrongLocation("a value that is not bound to its place stands where only bound ones belong")
        return self.sealer.open(type_tag, data)


class Gate:
    """The serializer of an inner saver. See the module.

    Args:
        admission: What is admitted besides sealed values.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Packs what the wrapper handed to the inner saver."""
        if obj is None:
            return "null", b""
        if isinstance(obj, Deferred):
            return "bytes", obj.sealed()
        if isinstance(obj, bytes):
            return "bytes", obj
        return "msgpack", pack(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Unpacks what is inert, and wraps what is not."""
        type_tag, blob = data
        if not isinstance(blob, bytes):
            # Nothing else is what a saver wrote, and bytes() of a number would allocate that many.
            blob = bytes(blob) if isinstance(blob, (bytearray, memoryview)) else b""
        if type_tag == "null":
            return None
        if type_tag == "bytes":
            return blob
        if type_tag == "msgpack":
            try:
                value = unpack(blob, self._reopen)
                if not isinstance(value, Inert):
                    return value
            except (ValueError, RecursionError):
                pass
        return self._foreign(type_tag, blob)

    def _foreign(self, type_tag: str, blob: bytes) -> Foreign:
        foreign = Foreign(str(type_tag), blob)
        self._admission.admit(foreign)
        if foreign.error is None and foreign.inner_type == "msgpack":
            try:
                entries = unpack(foreign.plaintext, self._reopen)
            except (ValueError, RecursionError):
                return foreign
            if isinstance(entries, dict):
                foreign.entries = entries
        return foreign

    def _reopen(self, packed: bytes) -> Any:
        type_tag, blob = ormsgpack.unpackb(packed)
        return self._foreign(type_tag, blob)


def pack(obj: Any) -> bytes:
    """Packs inert objects, deferred values (sealing them) and whatever the gate gave out before."""
    return ormsgpack.packb(obj, default=_pack_default, option=_PACK)


def _pack_default(obj: Any) -> Any:
    if isinstance(obj, Deferred):
        return obj.sealed()
    if isinstance(obj, _DeltaSnapshot):
        return ormsgpack.Ext(_EXT_DELTA_SNAPSHOT, pack(obj.value))
    if isinstance(obj, Inert):
        return ormsgpack.Ext(obj.code, obj.data)
    if isinstance(obj, Foreign):
        return ormsgpack.Ext(_EXT_FOREIGN, ormsgpack.packb((obj.type_tag, obj.data)))
    raise TypeError(f"an inner saver asked to store a {type(obj).__name__}, which was not handed to it sealed")


def unpack(packed: bytes, reopen: Callable[[bytes], Any]) -> Any:
    """Unpacks msgpack; extension objects stay uninterpreted, but for delta snapshots and our own foreign values."""

    def ext_hook(code: int, data: bytes) -> Any:
        if code == _EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(ormsgpack.unpackb(data, ext_hook=ext_hook, option=_UNPACK))
        if code == _EXT_FOREIGN:
            return reopen(data)
        return Inert(code, data)

    return ormsgpack.unpackb(packed, ext_hook=ext_hook, option=_UNPACK)

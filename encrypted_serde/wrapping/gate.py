"""The gate: the serializer that an inner saver is given, so that no object is ever built inside it.

An inner saver deserializes before its wrapper sees anything. With LangGraph's own serializer in it, one row edited by SQL
runs code there. The gate writes and reads only what is inert: null, bytes, msgpack without extension types, and a
`_DeltaSnapshot` around these. Everything else comes out as a `Foreign` object that carries the stored bytes unread; the
wrapper refuses it, or decodes it under a switch that the operator set.

The gate never raises on a read: some savers turn any error into "no checkpoint", and the thread would start afresh. On a write
it raises what the user's serializer raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import ormsgpack
from langgraph.checkpoint.base import BaseCheckpointSaver

from ..core.context import EncryptionContext, current
from ..errors import EncryptedSerdeError, MalformedEnvelope
from .admission import Admission, Admitted
from .inert import FOREIGN, Inert, has_more, pack, unpack
from .upstream import DELTA_SNAPSHOT, DeltaSnapshot

_BYTES = (b"\xc4", b"\xc5", b"\xc6")  # how msgpack begins bytes


class Deferred:
    """A value that will be sealed when the inner saver asks for its bytes, in the thread in which it asks, and only once.

    Savers pass over values they have stored already; those are then never serialized at all.
    """

    __slots__ = ("_arguments", "_seal", "_sealed")

    def __init__(self, seal: Callable[..., bytes], *arguments: Any) -> None:
        self._seal, self._arguments = seal, arguments
        self._sealed: bytes | None = None

    def sealed(self) -> bytes:
        """Returns the sealed bytes."""
        arguments = self._arguments  # another thread may seal it meanwhile, and let them go
        if self._sealed is None:
            self._sealed = self._seal(*arguments)
            self._arguments = ()
        return self._sealed


class Foreign(Mapping[str, Any]):
    """A stored value that was not sealed for its place, unread.

    It is a mapping only because inner savers look into what they take for a checkpoint or for metadata. Where the value is
    admitted and was packed from a dict, these are its entries, uninterpreted.

    Attributes:
        type_tag: As stored.
        data: As stored.
    """

    __slots__ = ("_admission", "_entries", "_opened", "data", "type_tag")

    def __init__(self, type_tag: str, data: bytes, admission: Admission) -> None:
        self.type_tag, self.data = type_tag, data
        self._admission = admission
        self._opened: tuple[EncryptionContext | None, Admitted] | None = None
        self._entries: dict[str, Any] | None = None

    def open(self, context: EncryptionContext | None = None) -> Admitted:
        """Opens it if a switch is on for its kind; raises as `Admission.open` does, and counts nothing."""
        expected = current.get() if context is None else context
        if self._opened is None or self._opened[0] is not expected:  # what opened under one context may not under another
            self._opened = expected, self._admission.open(self.type_tag, self.data, context=expected)
        return self._opened[1]

    def admit(self, context: EncryptionContext | None = None, *, is_proven: bool = False) -> Admitted:
        """Opens it and counts it; raises as `Admission.admit` does."""
        opened = self.open(context)
        self._admission.settle(opened, len(self.data), is_proven=is_proven)
        return opened

    @property
    def entries(self) -> dict[str, Any]:
        """What it holds as a mapping, where it is admitted; never raises."""
        if self._entries is None:
            self._entries = {"channel_versions": {}}
            if self._admission:
                try:
                    opened = self.open()
                    packed = unpack(opened.plaintext) if opened.inner_type == "msgpack" else None
                except EncryptedSerdeError:
                    packed = None  # the wrapper finds the reason when it asks to admit it
                if isinstance(packed, dict):
                    self._entries = packed
        return self._entries

    def __getitem__(self, name: str) -> Any:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Foreign {self.type_tag!r}, {len(self.data)} bytes>"


class Gate:
    """The serializer of an inner saver. See the module.

    Args:
        admission: What is admitted besides sealed values.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Packs what the wrapper handed to the inner saver."""
        if type(obj) is Deferred:
            return "bytes", obj.sealed()
        if obj is None:
            return "null", b""
        if isinstance(obj, bytes):
            return "bytes", obj
        if isinstance(obj, Foreign):
            return obj.type_tag, obj.data
        return "msgpack", pack(obj, _packed)

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
                value = unpack(blob, self._unpacked)
                is_sealed = isinstance(value, (str, DeltaSnapshot))  # perhaps
                if value is not None and not isinstance(value, _NEVER_PACKED) and not (is_sealed and has_more(blob)):
                    return value
            except MalformedEnvelope:
                pass
        return Foreign(str(type_tag), blob, self._admission)

    def _unpacked(self, code: int, data: bytes) -> Any:
        if code == DELTA_SNAPSHOT and data[:1] in _BYTES and not has_more(data):  # what we stored: sealed bytes, no more
            return DeltaSnapshot(ormsgpack.unpackb(data))
        if code == FOREIGN:
            type_tag, blob = ormsgpack.unpackb(data)
            return Foreign(str(type_tag), blob if isinstance(blob, bytes) else b"", self._admission)
        return Inert(code, data)


_NEVER_PACKED = (bytes, Foreign, Inert)  # by themselves: like None they are stored under a type of their own


def pack_inert(obj: Any) -> bytes:
    """Packs inert objects, deferred values (sealing them) and whatever the gate gave out before."""
    return pack(obj, _packed)


def _packed(obj: Any) -> Any:
    if isinstance(obj, Deferred):
        return obj.sealed()
    if isinstance(obj, DeltaSnapshot):
        return ormsgpack.Ext(DELTA_SNAPSHOT, pack(obj.value, _packed))
    if isinstance(obj, Foreign):
        return ormsgpack.Ext(FOREIGN, ormsgpack.packb((obj.type_tag, obj.data)))
    raise TypeError(f"an inner saver asked to store a {type(obj).__name__}, which was not handed to it sealed")


def gated(saver: BaseCheckpointSaver[Any], gate: Gate) -> BaseCheckpointSaver[Any]:
    """Returns a view of a saver that has a gate for its serializer and shares everything else.

    It is an instance of a subclass and has the saver's own ``__dict__``: a connection that is replaced later, a lock or a flag
    is the same on both. The saver itself keeps its serializer and goes on to work as it did.
    """
    cls = _gated_class(type(saver))  # type: ignore[arg-type]  # a class is hashable; its instances' __hash__ is meant
    view: BaseCheckpointSaver[Any] = object.__new__(cls)
    view.__dict__ = saver.__dict__
    view._gate = gate  # type: ignore[attr-defined]
    return view


@lru_cache(maxsize=256)
def _gated_class(cls: type[BaseCheckpointSaver[Any]]) -> type[BaseCheckpointSaver[Any]]:
    def ignore(self: Any, value: object) -> None:
        """Its serializer is the gate, whatever the saver assigns to itself."""

    # A slot, because the saver would share whatever is in __dict__.
    members = {"__slots__": ("_gate",), "serde": property(attrgetter("_gate"), ignore), "__module__": cls.__module__}
    return type(cls.__name__, (cls,), members)

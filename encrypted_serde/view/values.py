"""What a stored value holds, without the application's classes: msgpack and JSON are taken apart, and nothing of them runs.

LangGraph packs an object as an extension: the names of its module and class, and its fields. They are read as data. A class is
a name here, never an import.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar

from ..core.opaque import opaque
from ..errors import EncryptedSerdeError
from ..wrapping.inert import Inert, unpack
from ..wrapping.serialize import JSON
from ..wrapping.upstream import DELTA_SNAPSHOT

MAX_DEPTH = 100
"""Levels of nesting, objects in objects included. What lies deeper is shown by its size."""

MAX_BYTES = 32 << 20
"""A larger value is not taken apart."""

MAX_PARTS = 1_000_000
"""So many numbers, texts, lists and objects of a value are shown."""

_ARRAY = 6  # the code of the extension that LangGraph makes of a numpy array; those below are objects
_JSON_TYPES = (JSON, "json")


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """None, a truth value, a number or a text."""

    value: bool | int | float | str | None
    kind: ClassVar[str] = "scalar"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scalar) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Binary:
    """Bytes."""

    data: bytes
    kind: ClassVar[str] = "binary"

    def __repr__(self) -> str:
        return opaque(self)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list or a tuple: stored, they are the same."""

    items: tuple[Value, ...]
    kind: ClassVar[str] = "sequence"


@dataclass(frozen=True, slots=True)
class Fields:
    """A dict. Its keys may be of any kind."""

    pairs: tuple[tuple[Value, Value], ...]
    kind: ClassVar[str] = "fields"

    def get(self, name: str) -> Value | None:
        """Returns the value under a key that is text; None if there is none."""
        return next((value for key, value in self.pairs if isinstance(key, Scalar) and key.value == name), None)


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a class.

    Attributes:
        name: Module and name of the class, as the row says.
        content: Its fields, the arguments that make it, or its one value.
    """

    name: str
    content: Value
    kind: ClassVar[str] = "object"

    @property
    def short_name(self) -> str:
        """The name of the class alone."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Opaque:
    """What is not taken apart.

    Attributes:
        what: What it is, and why it is closed.
        size: Its size in bytes.
    """

    what: str
    size: int
    kind: ClassVar[str] = "opaque"


Value = Scalar | Binary | Sequence | Fields | Object | Opaque

NONE = Scalar(None)


def read_value(inner_type: str, data: bytes) -> Value:
    """Reads the plaintext of a value.

    Args:
        inner_type: Its format, as its type tag says.
        data: The plaintext.

    Returns:
        What it holds. What cannot be read is `Opaque`; no data makes this fail.
    """
    if inner_type == "null":
        return NONE
    if inner_type in ("bytes", "bytearray"):
        return Binary(bytes(data))
    if len(data) > MAX_BYTES:
        return Opaque(f"{inner_type}, too large to be taken apart", len(data))
    try:
        if inner_type == "msgpack":
            return _Reader().read(unpack(data), 0)
        if inner_type in _JSON_TYPES:
            return of_plain(json.loads(data))
    except (EncryptedSerdeError, ValueError, RecursionError):
        return Opaque(f"{inner_type} that cannot be read", len(data))
    return Opaque(f"{inner_type}, which only its own serializer reads", len(data))


def of_plain(value: Any) -> Value:
    """Reads what JSON or msgpack gave."""
    return _Reader().read(value, 0)


class _Reader:
    """Reads one value. What is beyond its limits is `Opaque`."""

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def read(self, value: Any, depth: int) -> Value:
        self._left -= 1
        if value is None or isinstance(value, (bool, int, float, str)):
            return Scalar(value)
        if isinstance(value, (bytes, bytearray)):
            return Binary(bytes(value))
        if depth >= MAX_DEPTH:
            return Opaque(f"nested deeper than {MAX_DEPTH} levels", len(value.data) if isinstance(value, Inert) else 0)
        if isinstance(value, Inert):
            return self._extension(value, depth)
        if isinstance(value, Mapping):
            return self._constructor(value, depth) or self._fields(value, depth)
        if isinstance(value, (list, tuple)):
            return self._sequence(value, depth)
        return Opaque(type(value).__name__, 0)

    def _sequence(self, value: list[Any] | tuple[Any, ...], depth: int) -> Sequence:
        items: list[Value] = []
        for number, item in enumerate(value):
            if self._left <= 0:
                items.append(Opaque(f"{len(value) - number} more", 0))
                break
            items.append(self.read(item, depth + 1))
        return Sequence(tuple(items))

    def _fields(self, value: Mapping[Any, Any], depth: int) -> Fields:
        pairs: list[tuple[Value, Value]] = []
        for key, item in value.items():
            if self._left <= 0:
                pairs.append((Scalar("..."), Opaque(f"{len(value) - len(pairs)} more", 0)))
                break
            pairs.append((self.read(key, depth + 1), self.read(item, depth + 1)))
        return Fields(tuple(pairs))

    def _constructor(self, value: Mapping[Any, Any], depth: int) -> Object | None:
        """Reads an object as LangChain writes it into JSON; None if it is none."""
        name = value.get("id")
        if value.get("lc") not in (1, 2) or value.get("type") != "constructor" or not isinstance(name, list):
            return None
        return Object(".".join(map(str, name)), self.read(value.get("kwargs") or value.get("args") or {}, depth + 1))

    def _extension(self, found: Inert, depth: int) -> Value:
        try:
            parts = unpack(found.data)
        except EncryptedSerdeError:
            return Opaque(f"extension {found.code} of msgpack that cannot be read", len(found.data))
        if found.code == DELTA_SNAPSHOT:
            return self.read(parts, depth + 1)
        if isinstance(parts, list) and found.code == _ARRAY and len(parts) == 4:
            return _array(parts)
        if found.code not in range(_ARRAY) or not isinstance(parts, list) or len(parts) < 3:
            return Opaque(f"extension {found.code} of msgpack", len(found.data))
        module, name, content, *_ = parts
        if not isinstance(module, str) or not isinstance(name, str):
            return Opaque(f"extension {found.code} of msgpack", len(found.data))
        # Python 3.13 packs a path under the module that it lives in there.
        return _object(f"{module}.{name}".replace("pathlib._local.", "pathlib."), self.read(content, depth + 1))


def _object(name: str, content: Value) -> Object:
    make = _TEXTS.get(name)
    text = None if make is None else make(content)
    return Object(name, content if text is None else Scalar(text))


def _array(parts: list[Any]) -> Value:
    """Reads a numpy array as its type and shape. Its numbers stay the bytes they are."""
    dtype, shape, _, data = parts
    if not isinstance(data, bytes) or not isinstance(shape, list):
        return Opaque("numpy array that cannot be read", 0)
    pairs = ((Scalar("dtype"), Scalar(str(dtype))), (Scalar("shape"), of_plain(shape)), (Scalar("data"), Binary(data)))
    return Object("numpy.ndarray", Fields(pairs))


# --- objects that people know by one text -----------------------------------------------------------------------------


def _numbers(content: Value) -> list[int] | None:
    if not isinstance(content, Sequence):
        return None
    numbers = [item.value for item in content.items if isinstance(item, Scalar) and type(item.value) is int]
    return numbers if len(numbers) == len(content.items) == 3 else None


def _date(content: Value) -> str | None:
    try:
        return date(*numbers).isoformat() if (numbers := _numbers(content)) else None
    except (ValueError, OverflowError):
        return None


def _duration(content: Value) -> str | None:
    try:
        return str(timedelta(*numbers)) if (numbers := _numbers(content)) else None
    except (ValueError, OverflowError):
        return None


def _time(content: Value) -> str | None:
    if not isinstance(content, Fields):
        return None
    parts = [content.get(name) for name in ("hour", "minute", "second", "microsecond")]
    numbers = [part.value for part in parts if isinstance(part, Scalar) and type(part.value) is int]
    if len(numbers) < 4 or content.get("tzinfo") != NONE:
        return None
    hour, minute, second, microsecond = numbers
    return f"{hour:02d}:{minute:02d}:{second:02d}" + (f".{microsecond:06d}" if microsecond else "")


def _uuid(content: Value) -> str | None:
    digits = content.value if isinstance(content, Scalar) else None
    if not isinstance(digits, str) or len(digits) != 32:
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _path(content: Value) -> str | None:
    parts = content.items if isinstance(content, Sequence) else ()
    names = [part.value for part in parts if isinstance(part, Scalar) and isinstance(part.value, str)]
    return "/".join(names).replace("//", "/", 1) if names and len(names) == len(parts) else None


_TEXTS = {
    "datetime.date": _date,
    "datetime.timedelta": _duration,
    "datetime.time": _time,
    "uuid.UUID": _uuid,
    "pathlib.PosixPath": _path,
    "pathlib.PurePosixPath": _path,
}
"""Objects that people know by one text, and how it is made of their arguments."""


# --- for programs -----------------------------------------------------------------------------------------------------


def as_json(value: Value) -> Any:
    """Returns a value as types that JSON knows.

    An object is ``{"$class": its name, "fields" | "items" | "value": ...}``, bytes are ``{"$bytes": base64}``, numbers that
    JSON lacks ``{"$float": "nan"}``, a dict with keys that are no text ``{"$pairs": [[key, value], ...]}``, what was not taken
    apart ``{"$opaque": what it is, "bytes": its size}``.
    """
    if isinstance(value, Scalar):
        plain = value.value
        return {"$float": str(plain)} if isinstance(plain, float) and not math.isfinite(plain) else plain
    if isinstance(value, Binary):
        return {"$bytes": base64.b64encode(value.data).decode("ascii")}
    if isinstance(value, Sequence):
        return [as_json(item) for item in value.items]
    if isinstance(value, Fields):
        return _json_fields(value)
    if isinstance(value, Object):
        where = {"fields": "fields", "sequence": "items"}.get(value.content.kind, "value")
        return {"$class": value.name, where: as_json(value.content)}
    return {"$opaque": value.what, "bytes": value.size}


def _json_fields(value: Fields) -> dict[str, Any]:
    names = [key.value if isinstance(key, Scalar) else None for key, _ in value.pairs]
    if all(isinstance(name, str) and not name.startswith("$") for name in names):
        return {str(name): as_json(item) for name, (_, item) in zip(names, value.pairs, strict=True)}
    return {"$pairs": [[as_json(key), as_json(item)] for key, item in value.pairs]}


def texts(value: Value) -> Iterable[str]:
    """Returns every text and number in a value, keys and names of classes included."""
    if isinstance(value, Scalar):
        if value.value is not None:
            yield str(value.value)
    elif isinstance(value, Sequence):
        for item in value.items:
            yield from texts(item)
    elif isinstance(value, Fields):
        for key, item in value.pairs:
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, Object):
        yield value.name
        yield from texts(value.content)

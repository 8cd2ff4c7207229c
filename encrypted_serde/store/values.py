"""What a program reads is what the plain store of that class would have given it.

`SqliteStore` and `PostgresStore` keep JSON, so dates and the like come back as text, or are refused; `InMemoryStore` keeps the
objects. Each class has a form of its own here. It decides what is sealed, what is handed out, and what is refused: nothing is
changed silently that the plain store would not change as well.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn

from langgraph.checkpoint.serde.base import SerializerProtocol

from ..errors import ConfigurationError, MalformedEnvelope
from ..wrapping import serialize
from ..wrapping.offload import size_guess
from ..wrapping.serialize import JSON

MAX_DEPTH = 254
"""Levels of lists and dicts in a value. SqliteStore takes as many; what is deeper could not be compared with a filter."""


class Unstorable(ConfigurationError, TypeError):
    """A value that cannot be stored. The message names the field, and never what is in it."""


class Objects:
    """Values come back as the objects they were, as those of `InMemoryStore` do. Tuples become lists.

    Args:
        serde: How values become bytes.

    Attributes:
        limit: Most bytes of one value.
    """

    limit = (1 << 31) - 64

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde

    def dumps(self, value: dict[Any, Any]) -> tuple[str, bytes]:
        """Makes bytes of a value, and names their type.

        Raises:
            Unstorable: If a part of it would not come back as it is, or it is too deep or too large. Names the field.
        """
        try:
            inner_type, data = self._dumps(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            _refuse(value, error, self._dumps)
        if len(data) > self.limit:
            _refuse_size(value, self.limit)
        return inner_type, data

    def loads(self, inner_type: str, data: bytes) -> dict[Any, Any]:
        """Makes a value of authentic bytes.

        Raises:
            MalformedEnvelope: If it is no dict.
        """
        value = serialize.loads(self._serde, inner_type, data)
        if not isinstance(value, dict):
            raise MalformedEnvelope("a sealed item is not a dict")
        return value

    def normal(self, part: Any) -> Any:
        """Returns a part of a value as it comes back."""
        return copy.deepcopy(part)

    def _dumps(self, value: Any) -> tuple[str, bytes]:
        _check(value, refuse_exceptions=True)
        try:
            return self._serde.dumps_typed(value)
        except (TypeError, OverflowError):  # an int beyond 64 bits
            if any(type(part) not in _JSON_TYPES for _, part in _parts(value)):
                raise
            return JSON, json.dumps(value).encode("ascii")


class Json(Objects):
    """Values that are kept as JSON, and come back as such."""

    def loads(self, inner_type: str, data: bytes) -> dict[Any, Any]:
        """Makes a value of authentic bytes, as the plain store would return it."""
        if inner_type != JSON:  # sealed with values="objects"
            data = self._text(super().loads(inner_type, data))
        value = self._parsed(data)
        if not isinstance(value, dict):
            raise MalformedEnvelope("a sealed item is not a dict")
        return value

    def normal(self, part: Any) -> Any:
        """Returns a part of a value as it comes back."""
        return part if type(part) in (str, int, bool) else self._parsed(self._text(part))

    def _dumps(self, value: Any) -> tuple[str, bytes]:
        return JSON, self._text(value)

    def _text(self, value: Any) -> bytes:
        raise NotImplementedError

    def _parsed(self, data: bytes) -> Any:
        raise NotImplementedError


class SqliteValues(Json):
    """As `SqliteStore` keeps them: the JSON of orjson."""

    limit = 700_000_000  # sealed, and as text, less than the 10^9 bytes that SQLite takes

    def __init__(self, serde: SerializerProtocol) -> None:
        import orjson  # SqliteStore needs it

        super().__init__(serde)
        self._orjson = orjson

    def _text(self, value: Any) -> bytes:
        return self._orjson.dumps(value)

    def _parsed(self, data: bytes) -> Any:
        return self._orjson.loads(data)


class PostgresValues(Json):
    """As `PostgresStore` keeps them: ``jsonb``, whose numbers are decimal."""

    limit = 200_000_000  # sealed, and as text, less than the 2^28 bytes of a text in jsonb

    def _text(self, value: Any) -> bytes:
        text = _ENCODER.encode(value)
        if _is_suspicious(text):
            _check(value, refuse_nul=True)
        return text.encode("utf-8")

    def _parsed(self, data: bytes) -> Any:
        return _DECODER.decode(data.decode("utf-8"))


def _is_suspicious(text: str) -> bool:
    """Says whether JSON may have what is refused in it: U+0000, half of a surrogate pair, or too many levels."""
    if ("\\" in text and "\\u0000" in text) or not (text.isascii() or _SURROGATE.search(text) is None):
        return True
    return ("[" in text or text.find("{", 1) > 0) and text.count("[") + text.count("{") > MAX_DEPTH


def _jsonb_float(text: str) -> int | float:
    """Returns what is read of a number with a point or an exponent that was kept as ``numeric``, which has no -0."""
    exponent = text.partition("e")[2]
    if exponent and not exponent.startswith("-"):
        return int(Decimal(text))
    return float(text) + 0.0


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_float=_jsonb_float)

# --- what cannot be stored ----------------------------------------------------------------------------------------------

_JSON_TYPES = frozenset({dict, list, tuple, str, int, float, bool, type(None)})

Path = tuple[Any, str] | None
"""Where a part of a value is: the path of what it is in, and how it is found there."""


def _parts(value: Any) -> Iterator[tuple[Path, Any]]:
    """Yields a value, its parts and their parts, and the names of fields, each with its path."""
    waiting: list[tuple[Path, Any, int]] = [(None, value, 0)]
    while waiting:
        path, part, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise Unstorable(f"{_field(path)} is more than {MAX_DEPTH} levels deep")
        yield path, part
        if isinstance(part, Mapping):
            yield from ((path, name) for name in part)
        waiting += [(inner_path, inner, depth + 1) for inner_path, inner in _inside(path, part)]


def _inside(path: Path, part: Any) -> Iterator[tuple[Path, Any]]:
    if type(part) in _SIMPLE:
        return
    if isinstance(part, Mapping):
        yield from (((path, name if isinstance(name, str) else "?"), inner) for name, inner in part.items())
    elif isinstance(part, (list, tuple, set, frozenset)):
        yield from (((path, f"[{number}]"), inner) for number, inner in enumerate(part))
    elif isinstance(fields := getattr(part, "__dict__", None), dict) and not isinstance(part, (type, Enum)):
        yield from (((path, name), inner) for name, inner in fields.items())


_SIMPLE = frozenset({str, int, float, bool, bytes, type(None)})


def _field(path: Path) -> str:
    names: list[str] = []
    while path is not None:
        path, name = path
        names.append(name)
    if not names:
        return "the value of an item"
    text = ".".join(reversed(names)).replace(".[", "[")
    return f"the field {text if len(text) <= _LONGEST_PATH else text[:_LONGEST_PATH] + '...'!a} of an item"


_LONGEST_PATH = 200


def _check(value: Any, *, refuse_exceptions: bool = False, refuse_nul: bool = False) -> None:
    """Refuses what would be changed without a word: half of a surrogate pair, and exceptions, which become their text.

    Raises:
        Unstorable: If there is such a part, or the value is too deep.
    """
    for path, part in _parts(value):
        if isinstance(part, str):
            if refuse_nul and "\0" in part:
                raise Unstorable(f"{_field(path)} has U+0000 in it, which Postgres does not take")
            if not part.isascii() and _SURROGATE.search(part):
                raise Unstorable(f"{_field(path)} has half of a surrogate pair in it, which is no text")
        elif refuse_exceptions and isinstance(part, BaseException):
            raise Unstorable(f"{_field(path)} is an exception ({type(part).__name__}), of which only a text would be kept")


_SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse(value: Any, error: Exception, attempt: Callable[[Any], Any]) -> NoReturn:
    """Says which part of a value cannot be stored: the innermost that cannot be by itself.

    Raises:
        Unstorable: Always.
    """
    if isinstance(error, Unstorable):
        raise error
    _check(value)
    path: Path = None
    part = value
    while to_blame := [found for found in _inside(path, part) if _fails(found[1], attempt)]:
        path, part = to_blame[0]
    raise Unstorable(f"{_field(path)} cannot be stored: {_reason(part)}") from None


def _fails(part: Any, attempt: Callable[[Any], Any]) -> bool:
    try:
        attempt(part)
    except Exception:  # noqa: BLE001  # whatever it is, this part is to blame
        return True
    return False


def _reason(part: Any) -> str:
    if isinstance(part, Mapping) and any(not isinstance(name, str) for name in part):
        return "the names of fields must be str"
    if type(part) is int:
        return "an int beyond 64 bits"
    return "a number that JSON does not have" if type(part) is float else f"a {type(part).__name__}"


def _refuse_size(value: Mapping[Any, Any], limit: int) -> NoReturn:
    largest = max(value, key=lambda name: size_guess(value[name]))
    raise Unstorable(f"{_field((None, str(largest)))} is too large: {limit} bytes is the most that this store takes")

"""Objects to bytes and back, by the user's serializer, with errors that name what failed and values that show nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from ..errors import MalformedEnvelope
from .inert import check_depth

JSON = "es-json"
"""Inner type of what the plain saver would have kept as JSON, and msgpack cannot hold."""


class Waiting:
    """A verified value that waits to be deserialised: call it. Its text shows nothing, since error reporters show variables."""

    __slots__ = ("_arguments", "_give")

    def __init__(self, give: Callable[..., Any], *arguments: Any) -> None:
        self._give, self._arguments = give, arguments

    @classmethod
    def holding(cls, value: Any) -> Waiting:
        """Waits to hand out what needs no deserialising."""
        return cls(lambda: value)

    def __call__(self) -> Any:
        """Returns the value."""
        return self._give(*self._arguments)


def dumps(serde: SerializerProtocol, value: Any, what: str, name: str | None = None) -> tuple[str, bytes]:
    """Serializes a value.

    Args:
        serde: The user's serializer.
        value: What to serialize.
        what: What to call it in an error, e.g. ``the value of channel``.
        name: Its name, if it has one.

    Raises:
        TypeError: If the serializer does not take it; its own words, and the name. Whatever else it raises goes through.
    """
    try:
        return serde.dumps_typed(value)
    except TypeError as error:
        what = what if name is None else f"{what} {name!r}"
        raise TypeError(f"{what}, a {type(value).__name__}, cannot be serialized: {error}") from error


def dumps_as_json_would(serde: SerializerProtocol, value: Any, what: str, name: str | None = None) -> tuple[str, bytes]:
    """Serializes what a plain saver keeps as JSON: ints beyond 64 bits, and the like, that msgpack does not take.

    Raises:
        TypeError: If neither takes it. What JSON refuses with ValueError (a circle) is one too.
    """
    try:
        return dumps(serde, value, what, name)
    except (TypeError, OverflowError) as error:
        try:
            return JSON, json.dumps(value).encode("ascii")
        except (TypeError, ValueError):
            raise error from None


def loads(serde: SerializerProtocol, inner_type: str, plaintext: bytes) -> Any:
    """Deserialises an authentic value."""
    return json.loads(plaintext) if inner_type == JSON else serde.loads_typed((inner_type, plaintext))


def loads_unauthenticated(serde: SerializerProtocol, inner_type: str, plaintext: bytes) -> Any:
    """Deserialises a value whose type nobody authenticated, so that it may be of any form.

    Raises:
        MalformedEnvelope: If it is not what its type says, instead of the ValueError or KeyError of a deserialiser, or is
            nested so deeply that deserialising it could end the process.
    """
    if inner_type == "msgpack":
        check_depth(plaintext)
    try:
        return loads(serde, inner_type, plaintext)
    except (ValueError, LookupError, TypeError, NotImplementedError, RecursionError):
        raise MalformedEnvelope(
            f"a value of inner type {inner_type!r} that was not authenticated does not deserialize"
        ) from None

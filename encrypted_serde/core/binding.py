"""Every place a value can belong to: one maker for each kind. Writer and reader call the same one, so they cannot drift.

A place has a *location*, which every reader knows because it found the value there; it is not stored, and a value that was
moved does not open. It has *claims*, which only some readers know; they are stored with it, authenticated, and are compared
by those who do. The writer gives a maker everything, a reader what it knows: None is left out. `docs/format.md` prints this
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from ..errors import MalformedEnvelope
from .claims import NO_CLAIMS, Claims, decode_claims, encode_claims, special_claims, write_claims
from .encoding import lp, lps, utf8

_VALUE, _DELTA, _WRITE, _MANIFEST = lp(b"value"), lp(b"delta"), lp(b"write"), lp(b"manifest")
_ITEM, _ENTRY, _JSON = lp(b"item"), lp(b"entry"), lp(b"json")


@lru_cache(maxsize=1024)
def _field(text: str) -> bytes:
    return lp(utf8(text))


class Binding(NamedTuple):
    """What ties a value to its place.

    Attributes:
        location: ``LP(surface) LP(field)...``, never empty.
        given: The claims by name, where they are at hand so.
        encoded: The claims as they are stored; None where a reader knows some of them only.
    """

    location: bytes
    given: Claims = NO_CLAIMS
    encoded: bytes | None = b""

    @classmethod
    def of(cls, location: bytes, claims: Claims) -> Binding:
        """Binds by claims: all of one kind, of a writer, or those that a reader knows."""
        return cls(location, claims, encode_claims(claims))

    @property
    def claims(self) -> Claims:
        """What a writer says of the place, or as much of it as a reader knows."""
        return self.given or decode_claims(self.encoded or b"")


class Place(NamedTuple):
    """Where rows of a checkpointer are stored: a thread and a checkpoint namespace.

    Attributes:
        thread_id: As text, as it is stored in the database.
        checkpoint_ns: The namespace; empty for the root graph.
        encoded: Both, as the part of every location that is constant in a saver call.
    """

    thread_id: str
    checkpoint_ns: str
    encoded: bytes

    @classmethod
    def of(cls, thread_id: object, checkpoint_ns: str | None) -> Place:
        """Encodes a thread and a namespace; None is the root, as in the savers.

        Raises:
            ConfigurationError: If one is longer than 65535 bytes or has a lone surrogate.
        """
        return _place(str(thread_id), checkpoint_ns or "")


@lru_cache(maxsize=1024)
def _place(thread_id: str, checkpoint_ns: str) -> Place:
    return Place(thread_id, checkpoint_ns, lps((thread_id, checkpoint_ns)))


def version_text(version: object) -> str:
    """Returns a channel version as text; a whole float reads as the integer it may come back as."""
    if type(version) is str:
        return version
    return str(int(version)) if isinstance(version, float) and version.is_integer() else str(version)


def value(place: Place, channel: str, version: object = None) -> Binding:
    """The value of a channel. Claim: ``version``, if the channel has one."""
    return _channel(_VALUE, place, channel, version)


def delta(place: Place, channel: str, version: object = None) -> Binding:
    """The value inside a snapshot of a delta channel. Claim: ``version``, if the channel has one."""
    return _channel(_DELTA, place, channel, version)


def _channel(surface: bytes, place: Place, channel: str, version: object) -> Binding:
    location = surface + place.encoded + _field(channel)
    if version is None:
        return Binding(location)
    return Binding(location, *_versioned(version if type(version) is str else version_text(version)))


@lru_cache(maxsize=1024)
def _versioned(version: str) -> tuple[Claims, bytes]:
    """Returns the claims of a channel's value, by name and encoded: what a step writes has one version."""
    claims: Claims = MappingProxyType({"version": version})
    return claims, b"\1" + utf8(version)


class WriteClaims(NamedTuple):
    """What a pending write says of itself. None is what a reader does not know, and what a special write does not have.

    Attributes:
        task_id: Id of the task that made it.
        checkpoint_id: The checkpoint it belongs to.
        task_path: Path of the task.
        idx: Its position among the writes of its task; the negative number that LangGraph gives a special channel.
        batch: Id of the call that saved it together with others: 16 hexadecimal digits.
        size: How many ordinary writes these are.
        of: How many of them go to its channel.
        alone: Id of the call that saved a special write, in place of `batch`, `size` and `of`.
    """

    task_id: str | None = None
    checkpoint_id: str | None = None
    task_path: str | None = None
    idx: int | None = None
    batch: str | None = None
    size: int | None = None
    of: int | None = None
    alone: str | None = None

    @property
    def saved_as(self) -> str:
        """The id of the call that saved it."""
        return self.batch or self.alone or ""

    def known(self) -> Claims:
        """Returns those that are known, by name."""
        return {name: claim for name, claim in zip(_WRITE_CLAIMS, self, strict=True) if claim is not None}

    @classmethod
    def read(cls, claims: Claims) -> WriteClaims:
        """Reads the claims of a write that was opened.

        Raises:
            MalformedEnvelope: If they are not those of a write.
        """
        if "task_id" not in claims:
            raise MalformedEnvelope("a write without the claims that every write has")
        return cls(**claims)  # type: ignore[arg-type]  # text and numbers, as the parser of claims gives them


_WRITE_CLAIMS = WriteClaims._fields


def write(place: Place, channel: str, claims: WriteClaims) -> Binding:
    """A pending write."""
    known = claims.known()
    encoded = None if claims.idx is None else encode_claims(known)  # without its position a write has not all of its claims
    return Binding(_WRITE + place.encoded + _field(channel), known, encoded)


class WriteMaker:
    """Makes what `write` makes, for all the writes of one call: what they have in common is encoded once.

    Args:
        place: Where they are stored.
        task: What they have in common, from `claims.task_claims`.
        size: How many ordinary writes there are.
    """

    def __init__(self, place: Place, task: bytes, size: int) -> None:
        self._location, self._task, self._size = _WRITE + place.encoded, task, size

    def ordinary(self, channel: str, idx: int, of: int) -> Binding:
        """An ordinary write."""
        return Binding(self._location + _field(channel), NO_CLAIMS, write_claims(self._task, idx, self._size, of))

    def special(self, channel: str, idx: int) -> Binding:
        """A special write."""
        return Binding(self._location + _field(channel), NO_CLAIMS, special_claims(self._task, idx))


def manifest(place: Place, checkpoint_id: str) -> Binding:
    """The manifest of a checkpoint."""
    return Binding(_MANIFEST + place.encoded + lp(utf8(checkpoint_id)))


def item(namespace: Sequence[str], key: str) -> Binding:
    """An item of a store. The number of labels is part of its place, since the key is the last field."""
    return Binding(_item_namespace(tuple(namespace)) + lp(utf8(key)))


@lru_cache(maxsize=1024)
def _item_namespace(namespace: tuple[str, ...]) -> bytes:
    return _ITEM + lps(namespace)


def entry(namespace: Sequence[str], key: str) -> Binding:
    """An entry of a cache."""
    return Binding(_ENTRY + lps((*namespace, key)))


def json_value(name: str) -> Binding:
    """A value under a key of a JSON object of Agent Server. Its model, field and thread are none of its place."""
    return Binding(_JSON + _field(name))


BLOB = Binding(lp(b"blob"))
"""A blob of Agent Server, which may be anywhere it keeps blobs."""

CONTEXT = Binding(lp(b"context"))
"""The token of a context in Agent Server."""

ANCHOR = Binding(lp(b"anchor"))
"""The secret of an anchor."""

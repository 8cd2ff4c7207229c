"""The table of edits, and what an edit is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.verdicts.rows import NotHere, Place, Rows


class Target(NamedTuple):
    """What there is to edit.

    Attributes:
        here: The newest checkpoint of thread ``one``: what most edits change.
        old, first: The two before it.
        there: The newest of another thread.
        child: The only one of another namespace.
        stranger: Rows of the same shape under another key; of the same place and under the same key, but another context.
    """

    here: Place
    old: Place
    first: Place
    there: Place
    child: Place
    stranger: tuple[Rows, Place]
    tenant: tuple[Rows, Place]


Edit = Callable[[Rows, Target], Any]
EDITS: dict[str, Edit] = {}
TAGS = (
    "null",
    "empty",
    "msgpack",
    "json",
    "pickle",
    "bytearray",
    "nonsense",
    "msgpack+aes",
    "bytes+rot13",
    "msgpack+xaes-256-gcm",
    "",
)
"""Type tags that a row may be given."""


def edit_named(name: str) -> Callable[[Edit], Edit]:
    def enter(edit: Edit) -> Edit:
        EDITS[name] = edit
        return edit

    return enter


def add(names: dict[str, Edit]) -> None:
    EDITS.update(names)


def raw(stored: Any) -> bytes:
    """Returns the sealed bytes of what is stored."""
    if isinstance(stored, str):
        return manifest_bytes(stored)
    if not isinstance(stored, bytes):
        raise NotHere
    return stored


def manifest_bytes(text: str) -> bytes:
    """Returns the sealed bytes that sealed text stands for."""
    from encrypted_serde.core.encoding import b64url_decode

    return b64url_decode(text.removeprefix("es1."))


def manifest_text(sealed: bytes) -> str:
    """Returns sealed bytes as sealed text."""
    from encrypted_serde.core.encoding import b64url_encode

    return "es1." + b64url_encode(sealed)

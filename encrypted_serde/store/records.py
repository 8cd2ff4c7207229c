"""Under which keys names and tokens were made: a store remembers it, so that a key that was dropped too early is noticed.

Pseudonyms and search tokens are made with a key. Without that key nothing is found by them, and an answer would be silently
incomplete. So the first put of a context under a key also writes a sealed record, in a reserved namespace that everybody can
compute. Before a process answers by name or token, it reads the records of the context, once a second at most: another process
may write under a key that this one was not given yet. Where one was sealed under a key that is missing, rows of that key are
looked for: if there is one the answer is `UnknownKey`, else the record goes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from langgraph.store.base import BaseStore, Op, PutOp, SearchOp

from ..core.bounded import Bounded
from ..core.context import EncryptionContext
from ..errors import UnknownKey
from ..wrapping.steps import Steps, Work
from ..wrapping.stored_item import DICTIONARY
from .dispatch import ask
from .items import Items, find_item
from .names import Place

VALUE = {"made": "names and tokens"}
FRESH = 1.0
"""For so many seconds the records of a context are not read again."""

_PAGE = 1024
_REMEMBERED = 4096  # contexts
_MISSING = (
    "items are stored under names or tokens of key {}, which the key provider does not hold, so they would be missing from the "
    "answer; it belongs into decrypt_only until they are written anew"
)


class KeyRecords:
    """Writes and reads the records.

    Args:
        inner: The inner store.
        items: Knows the keys of a context.
    """

    def __init__(self, inner: BaseStore, items: Items) -> None:
        self._inner = inner
        self._items = items
        self._checked: Bounded[bytes, float] = Bounded(_REMEMBERED)

    def record(self, context: EncryptionContext) -> PutOp:
        """Returns what has to be in the store, so that what is put under a context can be found."""
        key_id = self._items.tenancy.keys(context)[0].id.hex()
        return PutOp(_namespace(context), key_id, VALUE, index=False)

    def check(self, expected: EncryptionContext | None) -> Steps[None]:
        """Makes sure that no key is missing under which names and tokens of a request's contexts were made.

        Raises:
            UnknownKey: If one is missing, and rows are sealed under it.
        """
        now = time.monotonic()
        contexts = self._items.tenancy.contexts(expected)
        contexts = [each for each in contexts if now - self._checked.get(each.encoded, -FRESH) >= FRESH]
        if not contexts:
            return
        answers = yield from ask(self._inner, [SearchOp(_namespace(each), limit=_PAGE, refresh_ttl=False) for each in contexts])
        unknown = yield Work(partial(self._unknown, contexts, answers), self._items.sealer.may_block)
        if unknown:
            yield from self._refuse_needed(unknown)
        for context in contexts:
            self._checked[context.encoded] = now

    def _unknown(self, contexts: Sequence[EncryptionContext], answers: Sequence[Any]) -> dict[bytes, Place]:
        """Returns the keys that records were sealed under and that are missing, and where the records are."""
        unknown: dict[bytes, Place] = {}
        for context, records in zip(contexts, answers, strict=True):
            known = {key.id for key in self._items.tenancy.keys(context)}
            for record in records or ():
                sealed = find_item(record)
                if sealed is not None and sealed.head.key_id not in known:
                    unknown[sealed.head.key_id] = Place(_namespace(context), record.key)
        return unknown

    def _refuse_needed(self, unknown: dict[bytes, Place]) -> Steps[None]:
        for number in range(1 << 31):
            [page] = yield from ask(self._inner, [SearchOp((), limit=_PAGE, offset=number * _PAGE, refresh_ttl=False)])
            for row in page:
                sealed = find_item(row)
                if sealed is not None and sealed.head.key_id in unknown and tuple(row.namespace[:1]) != DICTIONARY:
                    raise UnknownKey(_MISSING.format(sealed.head.key_id.hex()), sealed.head.key_id)
            if not page:
                break
        gone: list[Op] = [PutOp(*place, value=None) for place in unknown.values()]
        yield from ask(self._inner, gone)


def _namespace(context: EncryptionContext) -> tuple[str, ...]:
    return (*DICTIONARY, f"k{hashlib.sha256(context.encoded).hexdigest()[:32]}")

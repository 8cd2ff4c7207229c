"""Whose items a request may write and read: the encryption context, its keys, and its mark in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from ..core.context import NO_CONTEXT, EncryptionContext, check_names, check_reading, current, may_read, parse_context
from ..core.keys import Key, SearchKeyProvider
from ..core.sealer import Sealer
from ..wrapping.stored_item import context_mark

ContextSource = Mapping[str, str] | Callable[[], Mapping[str, str] | None]


class Tenancy:
    """Finds the context of a request.

    Args:
        sealer: Knows the keys, the names that a context must have, and the contexts that are read besides the expected one.
        source: The context, or what gives it; the ambient `encryption_context` where it is, or gives, None.

    Raises:
        TypeError: If the context is of the wrong type.
        ConfigurationError: If it exceeds a limit.

    Attributes:
        has_marks: Whether the provider names every key of a context, so that items can be found by the mark of theirs.
    """

    def __init__(self, sealer: Sealer, source: ContextSource | None) -> None:
        self._provider = sealer.keys
        self._source = source if source is None or callable(source) else EncryptionContext.of(source)
        self._required = sealer.required_context
        self._required_to_read = sealer.require_context_to_read
        self._accepted = sealer.accepted_contexts
        self._search_keys = sealer.keys.search_keys if isinstance(sealer.keys, SearchKeyProvider) else None
        self.has_marks = self._search_keys is not None

    def expected(self, *, writes: bool, reads: bool) -> EncryptionContext | None:
        """Returns the context of the request that is being made; None if there is none.

        Raises:
            ConfigurationError: If it writes, under a context that lacks a required name.
            WrongContext: If it reads without a context, where one is required: a search would return the items of all.
        """
        context = self._now()
        if writes:
            check_names(self._required, context or NO_CONTEXT)
        if reads:
            check_reading(self._required_to_read, context)
        return context

    def _now(self) -> EncryptionContext | None:
        if isinstance(self._source, EncryptionContext):
            return self._source
        given = None if self._source is None else self._source()
        return current.get() if given is None else EncryptionContext.of(given)

    def reads(self, stored: EncryptionContext, expected: EncryptionContext | None) -> bool:
        """Says whether a request may read what is sealed under a context. Without a context of its own it may read all."""
        return may_read(stored, expected, self._accepted)

    def contexts(self, context: EncryptionContext | None) -> list[EncryptionContext]:
        """Returns the contexts that a request may find items under, the one it writes under first."""
        own = context or NO_CONTEXT
        return [own, *(parse_context(other) for other in sorted(self._accepted) if other != own.encoded)]

    def keys(self, context: EncryptionContext) -> Sequence[Key]:
        """Returns every key that names and tokens of a context may have been made with, the one to write with first."""
        if self._search_keys is not None:
            return self._search_keys(context.pairs)
        return [self._provider.encryption_key(context.pairs)]

    def mark(self, context: EncryptionContext) -> str:
        """Returns the mark that an item of a context is written with."""
        return _mark(self.keys(context)[0], context.encoded)

    def marks(self, context: EncryptionContext) -> list[str]:
        """Returns the marks that items of a request's contexts may have, the one that is written first."""
        return [_mark(key, each.encoded) for each in self.contexts(context) for key in self.keys(each)]


@lru_cache(maxsize=1024)
def _mark(key: Key, context: bytes) -> str:
    return context_mark(key, context)

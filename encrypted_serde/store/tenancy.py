"""Whose items a request may write and read: the encryption context, and the keys that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..audit import Sealing
from ..core.context import NO_CONTEXT, EncryptionContext, check_names, current, may_read, parse_context
from ..core.keys import Key, SearchKeyProvider

ContextSource = Mapping[str, str] | Callable[[], Mapping[str, str] | None]


class Tenancy:
    """Finds the context of a request.

    Args:
        sealer: Knows the keys, the names that a context must have, and the contexts that are read besides the expected one.
        source: The context, or what gives it; the ambient `encryption_context` where it is, or gives, None.

    Raises:
        TypeError: If the context is of the wrong type.
        ConfigurationError: If it exceeds a limit.
    """

    def __init__(self, sealer: Sealing, source: ContextSource | None) -> None:
        self._provider = sealer.keys
        self._source = source if source is None or callable(source) else EncryptionContext.of(source)
        self._required = sealer.required_context
        self._accepted = sealer.accepted_contexts

    def now(self) -> EncryptionContext | None:
        """Gives the context of the request that is being made; None if there is none.

        Raises:
            ConfigurationError: If it lacks a required name. Reading is refused too: a search without a tenant would give
                the items of all.
        """
        found = self._source
        if found is None:
            context = current.get()
        elif isinstance(found, EncryptionContext):
            context = found
        else:
            given = found()
            context = current.get() if given is None else EncryptionContext.of(given)
        check_names(self._required, context or NO_CONTEXT)
        return context

    def reads(self, stored: EncryptionContext, expected: EncryptionContext | None) -> bool:
        """Says whether a request may read what is sealed under a context. Without a context of its own it may read all."""
        return may_read(stored, expected, self._accepted)

    def contexts(self, context: EncryptionContext | None) -> list[EncryptionContext]:
        """Gives the contexts that a request may find items under, the one it writes under first."""
        own = context or NO_CONTEXT
        return [own, *(parse_context(other) for other in sorted(self._accepted) if other != own.encoded)]

    def keys(self, context: EncryptionContext) -> Sequence[Key]:
        """Gives every key that names and tokens of a context may have been made with, the one to write with first."""
        if isinstance(self._provider, SearchKeyProvider):
            return self._provider.search_keys(context.pairs)
        return [self._provider.encryption_key(context.pairs)]

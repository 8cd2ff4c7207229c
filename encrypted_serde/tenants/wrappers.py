"""Wrapping and unwrapping the keys of tenants, and what is compared each time."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..core.context import EncryptionContext
from ..core.keys import Key, drawn_secret
from ..errors import ConfigurationError, KeyServiceError
from ..kms import KeyWrapper, check_wrapper
from ..kms.fence import FencedWrapper
from .records import StoredKey, proof_of, shown


class Unwrapped(NamedTuple):
    """A key that was unwrapped."""

    key: Key
    secret: bytes

    def __repr__(self) -> str:  # error reporters show the variables of a frame
        return f"<Unwrapped {self.key!r}>"


class Wrappers:
    """The wrapper of new keys, and all that keys may be wrapped by.

    Args:
        wrapper: Wraps new keys. It is tried out.
        unwrap_only: What keys in the store may still be wrapped by.

    Raises:
        TypeError: If something is no `KeyWrapper`.
        ConfigurationError: If the wrapper does not authenticate the context.
        KeyServiceError: If the key service does not do what it is asked.
    """

    def __init__(self, wrapper: KeyWrapper, unwrap_only: Iterable[KeyWrapper]) -> None:
        check_wrapper(wrapper)
        self._wrapper = FencedWrapper(wrapper)
        self._by_name: dict[str, FencedWrapper] = {wrapper.name: self._wrapper}
        for other in unwrap_only:
            if not isinstance(other, KeyWrapper):
                raise TypeError(f"unwrap_only holds KeyWrappers, not {type(other).__name__}")
            self._by_name.setdefault(other.name, FencedWrapper(other))

    @property
    def names(self) -> list[str]:
        """Their names, in order."""
        return sorted(self._by_name)

    def unwrap(self, context: EncryptionContext, stored: StoredKey) -> Unwrapped:
        """Unwraps a key, and compares its id and its generation with what the store says.

        Raises:
            AuthenticationFailed: If it was changed, or was wrapped for another context.
            KeyServiceError: If the service did not do it, or it is another key or of another generation.
        """
        wrapper = self._by_name.get(stored.wrapper)
        if wrapper is None:
            by = shown(stored.wrapper)
            raise KeyServiceError(
                f"key {stored.id.hex()} is wrapped by {by}, which this keyring was not given", retryable=False
            )
        secret = wrapper.unwrap(stored.wrapped, context.pairs)
        try:
            key = Key.from_bytes(secret)
        except (TypeError, ConfigurationError):
            key = None
        if key is None or key.id != stored.id:
            raise KeyServiceError(f"{wrapper.name} unwrapped something else than key {stored.id.hex()}", retryable=False)
        if not hmac.compare_digest(proof_of(key, context, stored.generation), stored.proof):
            raise KeyServiceError(f"the generation of key {stored.id.hex()} was changed in the key store", retryable=False)
        return Unwrapped(key, secret)

    def new_key(self, context: EncryptionContext) -> tuple[Key, Callable[[int], StoredKey]]:
        """Draws a key and wraps it, and returns it with what makes a `StoredKey` of it, given its generation."""
        secret = drawn_secret()
        key = Key.from_bytes(secret)
        name, wrapped = self._wrapper.name, self._wrapper.wrap(secret, context.pairs)
        return key, lambda generation: StoredKey(key.id, generation, name, wrapped, proof_of(key, context, generation))

    def anew(self, context: EncryptionContext, stored: StoredKey) -> StoredKey:
        """Wraps a key anew, and unwraps the result to compare it."""
        wrapped = self._wrapper.wrap(self.unwrap(context, stored).secret, context.pairs)
        anew = stored._replace(wrapper=self._wrapper.name, wrapped=wrapped)
        self.unwrap(context, anew)
        return anew

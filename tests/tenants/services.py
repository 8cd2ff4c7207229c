"""Key wrappers for tests: one that counts its calls, goes away on demand, and refuses to be called on an event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from encrypted_serde import Key, KeyServiceError
from encrypted_serde.kms.local import LocalKeyWrapper


class CountingWrapper(LocalKeyWrapper):
    """A local wrapper that behaves like a key service.

    Attributes:
        calls: Calls so far, by kind.
        on_loop: Calls that blocked an event loop.
        down: While true, every call fails with a retryable error.
    """

    def __init__(self, key: Key | None = None) -> None:
        super().__init__(key or Key.generate())
        self.calls: Counter[str] = Counter()
        self.on_loop = 0
        self.down = False

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        self._call("wrap")
        return super().wrap(secret, context)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self._call("unwrap")
        return super().unwrap(wrapped, context)

    def _call(self, kind: str) -> None:
        self.calls[kind] += 1
        try:
            asyncio.get_running_loop()
            self.on_loop += 1
        except RuntimeError:
            pass
        if self.down:
            raise KeyServiceError(f"{self.name}: no answer; a retry may help", retryable=True)

    @property
    def total(self) -> int:
        return sum(self.calls.values())

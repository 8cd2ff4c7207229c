"""Waiting for a key without holding a thread or an event loop.

A key of a tenant may have to be fetched from a service. A caller of a `KeyProvider` on an event loop must not wait for
that, and a thread that waits is missing to everybody else. So work is tried *promptly*: a provider that would have to fetch
raises `KeyNotHere` instead, which says what to await, and the work is done anew once the key is there. A tenant whose keys are
in memory needs no thread, and one whose service hangs occupies none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")

ROUNDS = 100
"""How often work is tried anew because another key is not there, before it is handed to a thread that may wait."""

_prompt: ContextVar[bool] = ContextVar("encrypted_serde_prompt", default=False)


class KeyNotHere(BaseException):
    """A key must be fetched first, and the caller must not wait for it.

    A signal like `asyncio.CancelledError`, and no error: what catches errors of this package must not take it for one.

    Args:
        fetched: Call and await it. It returns when the key, or the reason why there is none, is in memory.

    Attributes:
        fetched: As given.
    """

    def __init__(self, fetched: Callable[[], Awaitable[None]]) -> None:
        super().__init__("a key must be fetched first")
        self.fetched = fetched


@runtime_checkable
class PromptKeyProvider(Protocol):
    """A `KeyProvider` that raises `KeyNotHere` instead of waiting, where `must_not_wait` says so."""

    @property
    def raises_key_not_here(self) -> bool:
        """True."""
        ...


def must_not_wait() -> bool:
    """Says whether the work at hand was started by `promptly`."""
    return _prompt.get()


def promptly(function: Callable[..., T], *arguments: Any) -> T:
    """Calls something that asks for keys and must not wait for them.

    Raises:
        KeyNotHere: If a key must be fetched first. Nothing was done then that may not be done again.
    """
    token = _prompt.set(True)
    try:
        return function(*arguments)
    finally:
        _prompt.reset(token)


async def aside(is_heavy: bool, function: Callable[..., T], *arguments: Any) -> T:
    """Calls something that asks for keys, without holding the event loop: here if it is quick, in a thread if it is heavy.

    Keys that must be fetched are awaited, which takes no thread; then the function is called again.

    Args:
        is_heavy: Whether it takes long, or asks a provider that makes its callers wait (`Sealer.may_block`).
        function: What to call. It changes nothing but what it returns, so that it may be called again.
        *arguments: For it.
    """
    for _ in range(ROUNDS):
        try:
            if is_heavy:
                return await asyncio.to_thread(promptly, function, *arguments)
            return promptly(function, *arguments)
        except KeyNotHere as missing:
            await missing.fetched()
    return await asyncio.to_thread(function, *arguments)

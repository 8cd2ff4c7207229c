"""The encryption context: a few named texts that are stored beside the data, authenticated, and part of the key.

A context separates tenants. A value sealed under ``tenant_id="acme"`` is encrypted with a data key of its own, carries the
context readably in its header, and is refused by a reader that expects another one. Since it is readable in every row, use
an opaque id and never an e-mail address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar, Token
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from ..errors import ConfigurationError, MalformedEnvelope, WrongContext
from .around import F, around
from .encoding import decode_pairs, encode_pairs, utf8

MAX_PAIRS = 16
"""Most pairs in one context."""

MAX_VALUE = 1024
"""Longest context value, in bytes of UTF-8."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)


class EncryptionContext:
    """A checked context: a read-only mapping together with its canonical encoding.

    Attributes:
        pairs: The names and values, read-only.
        encoded: ``pairs(...)`` of the wire format; zero bytes for the empty context.
    """

    __slots__ = ("encoded", "pairs")

    def __init__(self, pairs: Mapping[str, str], encoded: bytes) -> None:
        self.pairs: Mapping[str, str] = MappingProxyType(dict(pairs))
        self.encoded = encoded

    @classmethod
    def of(cls, pairs: Mapping[str, str]) -> EncryptionContext:
        """Checks a mapping and encodes it.

        Args:
            pairs: At most 16 pairs. Names match ``[a-z][a-z0-9_.-]{0,63}``; values are str of 1 to 1024 bytes of UTF-8.

        Raises:
            TypeError: If it is no mapping of str to str. Numbers are not converted: ``1`` and ``"1"`` must not be two
                spellings of one tenant.
            ConfigurationError: If a limit is exceeded.
        """
        if not isinstance(pairs, Mapping):
            raise TypeError(f"an encryption context is a mapping of str to str, not {type(pairs).__name__}")
        for name, value in pairs.items():
            if not isinstance(name, str) or not isinstance(value, str):
                wrong = type(value if isinstance(name, str) else name).__name__
                raise TypeError(f"encryption context {name!r}: names and values must be str, not {wrong}")
        if problem := _problem(pairs):
            raise ConfigurationError(problem)
        return cls(pairs, encode_pairs(pairs))

    def __repr__(self) -> str:
        return f"EncryptionContext({', '.join(sorted(self.pairs))})"


def _problem(pairs: Mapping[str, str]) -> str | None:
    if len(pairs) > MAX_PAIRS:
        return f"an encryption context has at most {MAX_PAIRS} pairs, not {len(pairs)}"
    for name, value in pairs.items():
        if not _NAME.fullmatch(name):
            return f"encryption context name {name!r} must match {_NAME.pattern}"
        if not 1 <= len(utf8(value)) <= MAX_VALUE:
            return f"encryption context {name!r}: the value must be 1 to {MAX_VALUE} bytes long"
    return None


@lru_cache(maxsize=1024)
def parse_context(encoded: bytes) -> EncryptionContext:
    """Reads a context as it is stored in a header. Bounded cache: headers are chosen by writers of rows.

    Raises:
        MalformedEnvelope: If it is not exactly what `EncryptionContext.of` would have encoded.
    """
    pairs = decode_pairs(encoded)
    if _problem(pairs):
        raise MalformedEnvelope("the encryption context in the header exceeds a limit")
    return EncryptionContext(pairs, encoded)


NO_CONTEXT = EncryptionContext({}, b"")
"""The empty context: what a value is sealed under when nothing was said."""

current: ContextVar[EncryptionContext | None] = ContextVar("encrypted_serde_context", default=None)
"""The innermost `encryption_context`, or None where there is none."""


def check_required_context(names: Iterable[str]) -> frozenset[str]:
    """Checks the option ``required_context``: names that a context must have before anything is written.

    Raises:
        TypeError: If it is a single str, or holds something else than str.
        ConfigurationError: If a name could not be one of a context.
    """
    if isinstance(names, str):
        raise TypeError(f"required_context takes several names: write ({names!r},)")
    required = frozenset(names)
    EncryptionContext.of(dict.fromkeys(required, "x"))
    return required


def check_names(required: frozenset[str], context: EncryptionContext) -> None:
    """Refuses a context that lacks a required name.

    Raises:
        ConfigurationError: If one is missing.
    """
    if missing := sorted(required - context.pairs.keys()):
        has = ", ".join(sorted(context.pairs)) or "nothing"
        raise ConfigurationError(
            f"the encryption context lacks {', '.join(missing)} (required_context) and has {has}; "
            f"wrap the call in `with encryption_context({', '.join(f'{name}=...' for name in missing)}):`"
        )


def check_reading(is_required: bool, context: EncryptionContext | None) -> None:
    """Refuses to read where no context is set, if one is required (``require_context_to_read``).

    Raises:
        WrongContext: If it is.
    """
    if is_required and context is None:
        raise WrongContext(NO_READER)


NO_READER = (
    "nothing is read where no encryption context is set (require_context_to_read); wrap the call in "
    "`with encryption_context(...):`, which may be empty for what was stored without one"
)


def may_read(stored: EncryptionContext, expected: EncryptionContext | None, accepted: frozenset[bytes]) -> bool:
    """Says whether what is stored under a context may be read where another is expected; None expects the stored one."""
    return expected is None or stored.encoded == expected.encoded or stored.encoded in accepted


def what_differs(stored: EncryptionContext, expected: EncryptionContext) -> str:
    """Says in which names the context of a value differs from the expected one."""
    parts = []
    for name in sorted({*stored.pairs, *expected.pairs}):
        found, wanted = stored.pairs.get(name), expected.pairs.get(name)
        if found == wanted:
            continue
        if wanted is None:
            parts.append(f"{name} (not expected)")
        else:
            parts.append(f"{name} ({'it has none' if found is None else 'another value'})")
    return f"sealed under another context than the expected one; what differs: {', '.join(parts)}"


def check_accepted_contexts(contexts: Iterable[Mapping[str, str]]) -> frozenset[bytes]:
    """Checks the option ``accept_contexts`` and encodes each of the contexts.

    Raises:
        TypeError: If it is a single context, or holds something else than mappings of str to str.
        ConfigurationError: If a context exceeds a limit.
    """
    if isinstance(contexts, (str, Mapping)):
        raise TypeError("accept_contexts takes several contexts: write ({},) for rows without one")
    return frozenset(EncryptionContext.of(context).encoded for context in contexts)


acting: ContextVar[str | None] = ContextVar("encrypted_serde_actor", default=None)
"""Who is at work, for the audit; None where nobody said."""


class encryption_context:  # noqa: N801  # it reads like a function
    """Seals everything written in the block under this context, and expects it of everything read.

    The innermost block counts, whole: nothing is merged with an outer one. An empty ``encryption_context()`` therefore
    means "no context", while outside any block a reader accepts the context that is stored with the value. The block is
    seen by threads and tasks that copy the caller's context variables, as asyncio tasks and LangGraph's executors do.

    A block must be left in the context of execution (thread, asyncio task) that entered it. A generator whose steps are made
    in several of them, as Starlette makes those of a stream, loses a block that it has around a ``yield``. As a decorator of
    a function, also of an ``async def`` and of generators, the block is around every step: see docs/web.md.

    Args:
        pairs: The context as a mapping, for names that are no Python identifiers, or that are called ``actor``.
        actor: Who is at work, for `AuditEvent.actor`: at most 1024 characters. Neither stored with data nor part of any key.
            An inner block that names nobody keeps the actor of the outer one.
        **named: The context by name, e.g. ``tenant_id="acme"``.

    Raises:
        TypeError: If a value or the actor is not a str; as a decorator, if what it decorates is no function, or returns
            something that only runs later.
        ConfigurationError: If a name, a value or the number of pairs is out of bounds, or a name is given twice; if it is
            entered twice; when it is left, if it was entered in another context of execution. An error that the block raised
            is never replaced.

    Example:
        ```python
        with encryption_context(tenant_id="acme"):
            graph.invoke(inputs, config)


        @encryption_context(tenant_id="acme")
        async def nightly():
            await graph.ainvoke(inputs, config)
        ```
    """

    def __init__(self, pairs: Mapping[str, str] | None = None, /, *, actor: str | None = None, **named: str) -> None:
        given: Mapping[str, Any] = {} if pairs is None else pairs
        if not isinstance(given, Mapping):
            raise TypeError(f"an encryption context is a mapping of str to str, not {type(pairs).__name__}")
        if twice := given.keys() & named.keys():
            raise ConfigurationError(f"encryption context names given twice: {', '.join(sorted(twice))}")
        self._context = EncryptionContext.of({**given, **named})
        self._actor = None if actor is None else _check_actor(actor)
        self._entered: tuple[Token[EncryptionContext | None], Token[str | None]] | None = None

    def __enter__(self) -> None:
        """Enters the block."""
        if self._entered is not None:
            raise ConfigurationError("this encryption_context is entered already: make one for each block")
        who = acting.get() if self._actor is None else self._actor
        self._entered = current.set(self._context), acting.set(who)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Leaves the block."""
        entered, self._entered = self._entered, None
        if entered is not None and not _leave(*entered) and error is None:
            raise ConfigurationError(_LEFT_ELSEWHERE)

    def __call__(self, function: F) -> F:
        """Decorates a function of any kind: the block is around every step of it."""
        return around(lambda: encryption_context(self._context.pairs, actor=self._actor), function)


_LEFT_ELSEWHERE = (
    "an encryption_context was entered in one context of execution and left in another, so what ran in between did not see "
    "it. A FastAPI dependency with yield must be `async def`, and a generator that is streamed is decorated instead; see "
    "docs/web.md for what works where"
)


def _check_actor(actor: object) -> str:
    if not isinstance(actor, str):
        raise TypeError(f"actor is a str, not {type(actor).__name__}")
    if not 1 <= len(actor) <= MAX_VALUE:
        raise ConfigurationError(f"actor must be 1 to {MAX_VALUE} characters long")
    return actor


def _leave(context: Token[EncryptionContext | None], actor: Token[str | None]) -> bool:
    """Leaves a block. Says whether this is the context of execution that entered it; if not, there is nothing to leave."""
    try:
        current.reset(context)
        acting.reset(actor)
    except ValueError:
        return False
    return True

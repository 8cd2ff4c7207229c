"""Which encryption context an Agent Server handler may work under.

The server hands every handler a context that may have come from four places: the ``@encryption.context`` handler, the
``X-Encryption-Context`` header of a request without a user, that header when the handler raised (the server logs the error
and goes on with what the client sent), or a marker in a stored row or request body.

So the handler never raises. Its answer is remembered for the request, in this process, and nothing else is believed there:
neither header nor token. Where it has no context to give, the answer is a *problem*, a mark that becomes the right error as
soon as somebody reads or writes. Elsewhere, for queued runs, crons and calls over gRPC, a context counts with its token alone
(see `tokens`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, TypeVar

from langgraph_sdk import EncryptionContext as RequestContext

from ..core.context import NO_CONTEXT, EncryptionContext, check_required_context
from ..core.keys import KeyProvider
from ..core.opaque import opaque
from ..errors import ConfigurationError, EncryptedSerdeError, KeyServiceError
from .served import served_metadata
from .startup import TOKEN, is_probe
from .tokens import CRON, REQUEST, RUN, TO_MAKE_RUNS, TO_WORK, Tokens, UntrustedContext

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

ContextFromUser = Callable[[Any, RequestContext], Awaitable[Mapping[str, str]]]
"""Async function of the authenticated user and the request's context: returns the encryption context to work under."""

REFUSED, NO_KEY_NOW, NO_KEY, NO_TOKEN = "refused", "no key now", "no key", "none"
"""What is carried in place of a token: three problems (no context; no key at the moment; no key at all), and what a row holds
that needs no token."""

_CARRIES = {("run", "config"): RUN, ("run", "kwargs"): RUN, ("cron", "payload"): CRON}
"""Where the server takes the context of a run or cron from: model and field. No other row needs a token."""

_PART_OF_RUNS = frozenset({"run", "cron", "thread"})  # what the server writes when it makes the run of a cron


class Answer(NamedTuple):
    """What the context handler answered for a request.

    Attributes:
        carried: What the server was given.
        context: The context; None where there is none to be trusted.
    """

    carried: Mapping[str, Any]
    context: EncryptionContext | None

    def __repr__(self) -> str:
        return opaque(self)


answer: ContextVar[Answer | None] = ContextVar("encrypted_serde_answer", default=None)
"""The context handler's answer for the request that is served; None where it was not called: in runs, crons, gRPC calls."""


def trust_header(*names: str) -> ContextFromUser:
    """Takes the context from the ``X-Encryption-Context`` header, for servers behind a gateway that sets it.

    **Everybody who reaches the server then chooses the tenant.** Use it only where a gateway in front overwrites the header.

    Args:
        *names: The pairs to take. Others are dropped; without the header the context is empty.

    Returns:
        A function for ``context_from_user=``.

    Raises:
        ConfigurationError: If no name is given.
    """
    if not names:
        raise ConfigurationError("name the pairs of the header that are the encryption context, e.g. trust_header('tenant_id')")

    async def context_from_header(user: object, ctx: RequestContext) -> Mapping[str, str]:
        return {name: ctx.metadata[name] for name in names if name in ctx.metadata}

    return context_from_header


def check_context_from_user(function: ContextFromUser) -> None:
    """Checks at registration what the SDK checks never: that the function is async and takes two arguments.

    Raises:
        TypeError: If it is not, or does not.
    """
    if not callable(function) or not _is_async(function):
        raise TypeError("context_from_user must be an async function of (user, ctx)")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise TypeError("context_from_user must accept exactly two arguments: (user, ctx)") from None


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


async def context_of_request(function: ContextFromUser | None, user: object, ctx: RequestContext) -> EncryptionContext:
    """Asks `context_from_user` for the context of one request, and checks the result.

    Args:
        function: As given to `make_encryption`. Without one the context is empty, and a client that names another is not
            believed.
        user: The authenticated user.
        ctx: The request's context, which holds the client's header.

    Raises:
        UntrustedContext: If a client names a context, and there is no function.
        Exception: Whatever the function raises, and what `EncryptionContext.of` raises for its result.
    """
    if function is not None:
        return EncryptionContext.of(await function(user, ctx))
    if ctx.metadata:
        raise UntrustedContext("a client sent X-Encryption-Context, and there is no context_from_user to check it")
    return NO_CONTEXT


def problem_of(error: Exception, *, of_key: bool) -> str:
    """Names the problem for which there is no context, and logs the reason: the client is told nothing but a status.

    Args:
        error: What was raised.
        of_key: Whether the key was asked for when it was.
    """
    logger.error("this request has no encryption context: %s", type(error).__name__, exc_info=error)
    if isinstance(error, KeyServiceError):
        return NO_KEY_NOW if error.retryable else NO_KEY
    return NO_KEY if of_key else REFUSED


_KEY = "the key of this request's encryption context cannot be had"
_RAISED: Mapping[str, Callable[[], EncryptedSerdeError]] = {
    NO_KEY_NOW: partial(KeyServiceError, f"{_KEY} at the moment", retryable=True),
    NO_KEY: partial(KeyServiceError, _KEY, retryable=False),
    REFUSED: partial(UntrustedContext, "context_from_user gave no usable encryption context for this request"),
}
"""What each problem becomes as soon as somebody reads or writes."""

_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds that a run waits for a key before it asks again: a minute in all."""


async def patiently(work: Callable[[], Awaitable[_T]], *, by_itself: bool = False) -> _T:
    """Does something that needs a key; within a run, does it again for a minute where the key service is away.

    A client can be asked to come again, and is, at once. A run cannot: it would fail, and its work be lost.

    Args:
        work: What to do.
        by_itself: Whether it waits as well where the server serves neither request nor run.

    Raises:
        KeyServiceError: If the key cannot be had.
    """
    for pause in _PAUSES:
        try:
            return await work()
        except KeyServiceError as error:
            if not error.retryable or answer.get() is not None or not (by_itself or served_metadata()):
                raise
        await asyncio.sleep(pause)
    return await work()


class Trust:
    """Believes what the context handler answered, and elsewhere tokens. May ask a key service: call it off the event loop.

    Args:
        keys: Under which tokens are sealed.
        required_context: Names that a context must have to be written under.

    Raises:
        TypeError: If ``required_context`` is a single str.
        ConfigurationError: If a name of it cannot be one.

    Attributes:
        required: As given.
    """

    def __init__(self, keys: KeyProvider, required_context: Iterable[str] = ()) -> None:
        self.required = check_required_context(required_context)
        self._tokens = Tokens(keys)

    def carried(self, context: EncryptionContext, purpose: str = REQUEST) -> dict[str, str]:
        """Returns a context in the form in which the server carries it: its pairs, and a token.

        Raises:
            EncryptedSerdeError: If the key cannot be had.
        """
        return {**context.pairs, TOKEN: self._tokens.issue(purpose, context)}

    def stored(self, context: EncryptionContext, ctx: RequestContext) -> dict[str, str]:
        """Returns a context in the form in which a row holds it: with a token only where the server runs something from it.

        Raises:
            EncryptedSerdeError: If the key cannot be had.
        """
        purpose = _CARRIES.get((str(ctx.model), str(ctx.field)))
        return {**context.pairs, TOKEN: NO_TOKEN} if purpose is None else self.carried(context, purpose)

    def trusted(self, metadata: Mapping[str, Any], model: str | None = None) -> EncryptionContext:
        """Returns the context that the server carried, if the context handler gave it.

        Args:
            metadata: As the server hands it to a handler.
            model: Of what is sealed or opened: the server makes runs under the tokens of crons.

        Raises:
            UntrustedContext: If it did not.
            KeyServiceError: If a key that is needed to know it cannot be had.
        """
        token = metadata.get(TOKEN)
        if isinstance(token, str) and token in _RAISED:
            raise _RAISED[token]()
        if (given := answer.get()) is not None:
            if given.context is None or dict(metadata) != dict(given.carried):
                raise UntrustedContext("this request brings another encryption context than context_from_user gave it")
            return given.context
        try:
            context = EncryptionContext.of({name: value for name, value in metadata.items() if name != TOKEN})
        except (TypeError, ConfigurationError) as error:
            raise UntrustedContext(f"what this request brings is no encryption context ({type(error).__name__})") from None
        self._tokens.check(token, context, TO_MAKE_RUNS if model in _PART_OF_RUNS else TO_WORK)
        return context

    def check_names(self, context: EncryptionContext | None) -> None:
        """Refuses a context without the names that it must have.

        Raises:
            UntrustedContext: If one is missing.
        """
        if missing := self.required - (context.pairs.keys() if context else set()):
            raise UntrustedContext(f"this request has no {', '.join(sorted(missing))} in its encryption context")

    def served(self, model: str | None = None) -> EncryptionContext | None:
        """Returns the trusted context of the request or run that is served; None if it has none.

        Raises:
            UntrustedContext: As `trusted` does.
            KeyServiceError: As `trusted` does.
        """
        metadata = served_metadata()
        context = self.trusted(metadata, model) if metadata and not is_probe(metadata) else NO_CONTEXT
        return context if context.pairs else None

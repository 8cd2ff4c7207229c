"""Which encryption context an Agent Server handler may write under.

The server hands every handler a context that may have come from three places: the ``@encryption.context`` handler, the
``X-Encryption-Context`` header when that handler raised (the server logs the error and goes on with what the client sent), or
a marker in a stored row or request body. Only the first is trustworthy, and a row or a gRPC call cannot say which it was.

So what the context handler returns is *vouched for*: it carries a token, an empty value sealed under exactly this context.
Only somebody with the key can make one, it survives the way through JSON into a queued run and back, and it says nothing
that the context beside it does not say.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from langgraph_sdk import EncryptionContext as RequestContext

from ..core.binding import CONTEXT
from ..core.context import NO_CONTEXT, EncryptionContext, check_required_context
from ..core.format import find_sealed, sealed_text
from ..core.keys import KeyProvider
from ..core.sealer import Sealer
from ..errors import ConfigurationError, EncryptedSerdeError, KeyServiceError, WrongContext
from .startup import TOKEN, is_probe

logger = logging.getLogger(__name__)

ContextFromUser = Callable[[Any, RequestContext], Awaitable[Mapping[str, str]]]
"""Async function of the authenticated user and the request's context: gives the encryption context to write under."""

REFUSED: Mapping[str, str] = {TOKEN: "refused"}
"""What the server is given in place of a context that could not be vouched for. It opens nothing."""

_INNER_TYPE = "context"
_REMEMBERED = 4096  # tokens that are known to be good; each is a few hundred bytes


class UntrustedContext(WrongContext):
    """The encryption context of a request was not vouched for by the context handler, or lacks a name that it must have."""


def trust_header(*names: str) -> ContextFromUser:
    """Takes the context from the ``X-Encryption-Context`` header, for servers behind a gateway that sets it.

    **Whoever reaches the server chooses the tenant then.** Use it only where a gateway in front overwrites the header.

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


async def context_of_request(function: ContextFromUser | None, user: object, ctx: RequestContext) -> EncryptionContext | None:
    """Asks `context_from_user` for the context of one request, and checks the answer.

    Args:
        function: As given to `make_encryption`. Without one the context is empty, and a client that names another is not
            believed.
        user: The authenticated user.
        ctx: The request's context, which holds the client's header.

    Returns:
        The context, or None where there is none to be trusted. The reason is in the server's log. Nothing is raised: the
        server would go on with the client's header.
    """
    if function is None:
        if ctx.metadata:
            logger.error("a client sent X-Encryption-Context, and there is no context_from_user to vouch for it")
            return None
        return NO_CONTEXT
    try:
        return EncryptionContext.of(await function(user, ctx))
    except Exception:  # whatever it is: see above
        logger.exception("context_from_user gave no usable encryption context; writes of this request will be refused")
        return None


def served_metadata() -> Mapping[str, Any] | None:
    """Gives the context that the server carries for the request or run that it serves at this moment, not checked.

    Returns:
        None outside of a server, and for what the server does by itself: sweeping old threads, starting crons.
    """
    module = sys.modules.get("langgraph_api.encryption.context")
    return module.encryption_context.get() if module else None


class Trust:
    """Vouches for contexts, and believes only what was vouched for. May ask a key service: call it off the event loop.

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
        self._sealer = Sealer(keys)  # tokens are no data, and leave no trace in the audit
        self._good: dict[tuple[str, bytes], EncryptionContext] = {}

    def vouch(self, context: EncryptionContext) -> dict[str, str]:
        """Gives a context the form in which the server carries it: its pairs, and the token that vouches for them.

        Raises:
            KeyServiceError: If the key cannot be had.
        """
        token = sealed_text(self._sealer.seal_bound(_INNER_TYPE, b"", CONTEXT, context=context))
        self._remember(token, context)
        return {**context.pairs, TOKEN: token}

    def vouched(self, metadata: Mapping[str, Any]) -> EncryptionContext:
        """Gives the context that the server carried, if it was vouched for.

        Args:
            metadata: As the server hands it to a handler.

        Raises:
            UntrustedContext: If the token is missing, is not of our making, or is of another context.
            KeyServiceError: If its key cannot be had now.
        """
        token = metadata.get(TOKEN)
        try:
            if (sealed := find_sealed(token)) is None:
                raise UntrustedContext("the encryption context of this request was not vouched for by context_from_user")
            context = EncryptionContext.of({name: value for name, value in metadata.items() if name != TOKEN})
            if known := self._good.get((str(token), context.encoded)):
                return known
            self._sealer.open_bound(sealed, CONTEXT, context=context)
        except (KeyServiceError, UntrustedContext):
            raise
        except (EncryptedSerdeError, TypeError) as error:
            raise UntrustedContext(f"the encryption context does not match its token ({type(error).__name__})") from None
        self._remember(str(token), context)
        return context

    def check_names(self, context: EncryptionContext | None) -> None:
        """Refuses a context without the names that it must have.

        Raises:
            UntrustedContext: If one is missing.
        """
        if missing := self.required - (context.pairs.keys() if context else set()):
            raise UntrustedContext(f"this request has no {', '.join(sorted(missing))} in its encryption context")

    def served(self) -> EncryptionContext | None:
        """Gives the vouched context of the request or run that is served; None if it has none.

        Raises:
            UntrustedContext: As `vouched` does.
            KeyServiceError: As `vouched` does.
        """
        metadata = served_metadata()
        context = self.vouched(metadata) if metadata and not is_probe(metadata) else NO_CONTEXT
        return context if context.pairs else None

    def _remember(self, token: str, context: EncryptionContext) -> None:
        if len(self._good) >= _REMEMBERED:
            self._good.clear()
        self._good[token, context.encoded] = context

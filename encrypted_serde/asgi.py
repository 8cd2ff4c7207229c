"""The encryption context of a web request, for every ASGI application (FastAPI, Starlette, Django, Quart), and its errors.

The middleware sets the context around the whole application, streams and background tasks included. Frameworks that run an
endpoint in a thread of their pool copy the context variables into it, so synchronous endpoints see it too. docs/web.md has
what works where. Nothing here imports a framework but `error_response`, which needs Starlette when it is called.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from .core.context import encryption_context
from .errors import EncryptedSerdeError, KeyErased, WrongContext

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER = 5
"""Seconds after which a client is asked to try again, when a key service or an anchor did not answer."""

_DETAILS = {
    403: "this request may not read or change this: it belongs to another encryption context, or the request has none",
    410: "this was erased",
    422: "this cannot be stored: it could not be read or sent again",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""What a client is told. Fixed texts: those of the errors name keys and rows, which are for the log."""


class EncryptionContextMiddleware:
    """Runs every request under the encryption context that a function gives for it. Pure ASGI.

    Let it come after authentication: the function should give what the server has authenticated, never what a client says.
    A request that it gives nothing for runs under the empty context: it reads nothing that has a context, and with
    ``required_context=`` of the saver it writes nothing either.

    Args:
        app: The application to wrap.
        context: Function of the ASGI scope: gives the context, or None for a request without one. Called once for each
            HTTP request and WebSocket, on the event loop. An exception that it raises is the application's.
        actor: Function of the ASGI scope: gives who is at work, for the audit, or None.

    Raises:
        TypeError: If ``context`` or ``actor`` cannot be called. In a request: if the context is no mapping of str to str.
        ConfigurationError: In a request: if the context exceeds a limit.

    Example:
        ```python
        app = FastAPI()
        app.add_middleware(EncryptionContextMiddleware, context=lambda scope: {"tenant_id": scope["user"].tenant})
        app.add_middleware(AuthenticationMiddleware, backend=...)  # added last, so it runs first
        ```
    """

    def __init__(
        self,
        app: Application,
        context: Callable[[Scope], Mapping[str, str] | None],
        actor: Callable[[Scope], str | None] | None = None,
    ) -> None:
        if not callable(context):
            raise TypeError(f"context is a function of the ASGI scope, not {type(context).__name__}")
        if actor is not None and not callable(actor):
            raise TypeError(f"actor is a function of the ASGI scope, not {type(actor).__name__}")
        self._app = app
        self._context = context
        self._actor = actor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] not in ("http", "websocket"):  # lifespan: no request
            await self._app(scope, receive, send)
            return
        with encryption_context(self._context(scope), actor=self._actor(scope) if self._actor else None):
            await self._app(scope, receive, send)


def status_of(error: EncryptedSerdeError) -> int:
    """Returns the HTTP status that fits an error of this package.

    Returns:
        403 for another tenant's data or a missing context; 410 for what was erased; 422 for data that Agent Server could not
        send again; 503 where the same request may succeed later; 500 for all else: tampering, plaintext, unknown keys, a wrong
        configuration.
    """
    if isinstance(error, WrongContext):
        return 403
    if isinstance(error, KeyErased):
        return 410
    return 503 if getattr(error, "retryable", False) else getattr(error, "http_status", 500)


async def error_response(request: Request, error: Exception) -> Response:
    """An exception handler for Starlette, FastAPI and the ``http`` app of Agent Server.

    Answers with `status_of` and a fixed text; the error itself goes to the log. Register it for `EncryptedSerdeError`.

    Example:
        ```python
        app = FastAPI(exception_handlers={EncryptedSerdeError: error_response})
        ```
    """
    from starlette.responses import JSONResponse

    status = status_of(error) if isinstance(error, EncryptedSerdeError) else 500
    logger.log(
        logging.ERROR if status == 500 else logging.WARNING, "%s: %s", type(error).__name__, error, exc_info=status == 500
    )
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else None
    return JSONResponse({"detail": _DETAILS[status]}, status, headers)

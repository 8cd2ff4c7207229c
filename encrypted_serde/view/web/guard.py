"""Checks every request before a page answers it: who may ask, and what the browser may do with the answer."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing comes from anywhere else, no page holds a script, and no page is shown inside of another."""

_HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# A page that sends the browser on, and no redirect: the browser sends no strict cookie along with a redirect that
# a link on another site began.
_ENTER = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<link rel="icon" href="/static/icon.svg"><title>encrypted-serde</title>'
)
_REFUSED = "<!doctype html><meta charset='utf-8'><title>encrypted-serde</title><p>{}"


class Guard:
    """Lets in who has the token, and tells browsers to keep everything to themselves.

    Args:
        app: The pages.
        port: The port that is served: a part of the cookie's name, since cookies belong to a host and not to a port.
        hosts: Names that the browser may know this server by, besides addresses that are numbers.

    Attributes:
        token: Opens the pages, once.
    """

    def __init__(self, app: ASGIApp, port: int, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts | {"localhost"}
        self.token = secrets.token_urlsafe(24)
        self._session = secrets.token_urlsafe(24)
        self._cookie = f"encrypted-serde-{port}"
        self._was_used = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, self._with_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Returns the answer to a request that does not reach the pages."""
        if not self._knows(headers.get("host", "")):  # another name that leads here: DNS rebinding
            return _refused("This server is not known by that name.", 421)
        if scope["method"] not in ("GET", "HEAD"):
            return _refused("These pages only show.", 405)
        given = QueryParams(scope["query_string"]).get("token", "")
        if scope["path"] == "/" and given:
            return self._enter(given)
        if not self._is_let_in(headers.get("cookie", "")):
            return _refused("Open the address that <code>encrypted-serde view</code> printed.", 403)
        return None

    def _enter(self, given: str) -> Response:
        if self._was_used or not hmac.compare_digest(given.encode(), self.token.encode()):
            return _refused(
                "This address was used already, or is of another run. Start <code>encrypted-serde view</code> again.", 403
            )
        self._was_used = True
        response = HTMLResponse(_ENTER)
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="strict")
        return response

    def _is_let_in(self, header: str) -> bool:
        try:
            morsel = SimpleCookie(header).get(self._cookie)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self._session.encode())

    def _knows(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.lower() in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        return with_headers


def _refused(text: str, status: int) -> Response:
    return HTMLResponse(_REFUSED.format(text), status)

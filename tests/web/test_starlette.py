"""Starlette: the middleware behind its own authentication, and what runs after the answer; errors on the way out."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from encrypted_serde import EncryptedSerdeError, EncryptedSerializer, Key, encryption_context
from encrypted_serde.asgi import EncryptionContextMiddleware, error_response
from encrypted_serde.core.context import acting
from tests.web.test_fastapi import seen

later: list[str] = []
serde = EncryptedSerializer(Key.generate())
with encryption_context(tenant_id="acme"):
    OF_ACME = serde.dumps_typed("secret")


class ByHeader(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("user")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


async def who(request: Request) -> PlainTextResponse:
    def note() -> None:
        later.append(seen())

    return PlainTextResponse(f"{acting.get()} of {seen()}", background=BackgroundTask(note))


async def read(request: Request) -> PlainTextResponse:
    return PlainTextResponse(serde.loads_typed(OF_ACME))


app = Starlette(
    routes=[Route("/who", who), Route("/read", read)],
    middleware=[
        Middleware(AuthenticationMiddleware, backend=ByHeader()),
        Middleware(
            EncryptionContextMiddleware,
            context=lambda scope: {"tenant_id": name.partition("@")[2]} if (name := scope["user"].display_name) else None,
            actor=lambda scope: scope["user"].display_name or None,
        ),
    ],
    exception_handlers={EncryptedSerdeError: error_response},
)


async def ask(path: str, user: str | None) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        return await client.get(path, headers={"user": user} if user else {})


async def test_the_tenant_is_that_of_the_authenticated_user_also_after_the_answer() -> None:
    later.clear()
    assert (await ask("/who", "alice@acme")).text == "alice@acme of acme"
    assert (await ask("/who", None)).text == "None of nobody"
    assert later == ["acme", "nobody"]


@pytest.mark.parametrize(("user", "status"), [("alice@acme", 200), ("bob@globex", 403), (None, 403)])
async def test_what_belongs_to_another_tenant_is_forbidden(user: str | None, status: int) -> None:
    assert (await ask("/read", user)).status_code == status

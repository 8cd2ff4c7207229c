"""Django: the middleware around its ASGI application reaches async, sync and streaming views; so does a block in a view."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import django
import httpx
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from encrypted_serde import encryption_context
from encrypted_serde.asgi import EncryptionContextMiddleware
from tests.web.test_fastapi import seen

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["service"], SECRET_KEY="of a test", USE_TZ=True)
    django.setup()


async def in_the_loop(request: HttpRequest) -> HttpResponse:
    return HttpResponse(seen())


def in_a_thread(request: HttpRequest) -> HttpResponse:
    return HttpResponse(seen())


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        yield seen()

    return StreamingHttpResponse(parts())


async def with_a_block(request: HttpRequest) -> HttpResponse:
    with encryption_context(tenant_id=request.headers["tenant"]):
        return HttpResponse(seen())


urlpatterns = [
    path("async", in_the_loop),
    path("sync", in_a_thread),
    path("stream", stream),
    path("block", with_a_block),
]


def tenant(scope: Any) -> dict[str, str]:
    return {"tenant_id": dict(scope["headers"])[b"tenant"].decode()}


async def ask(app: Any, where: str) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        return (await client.get(f"/{where}", headers={"tenant": "acme"})).raise_for_status().text


@pytest.mark.parametrize("where", ["async", "sync", "stream"])
async def test_the_middleware_reaches_every_kind_of_view(where: str) -> None:
    application = get_asgi_application()
    assert await ask(application, where) == "nobody"
    assert await ask(EncryptionContextMiddleware(application, context=tenant), where) == "acme"


async def test_a_block_in_an_async_view_is_seen_there() -> None:
    assert await ask(get_asgi_application(), "block") == "acme"

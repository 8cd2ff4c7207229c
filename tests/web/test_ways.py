"""The tables of docs/web.md: each way of setting the encryption context, with each kind of function, in FastAPI and Django.

Every cell is run, and what comes out is compared with what the page says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from fastapi import BackgroundTasks, Depends, FastAPI, Header
from fastapi.responses import PlainTextResponse, StreamingResponse

from encrypted_serde import encryption_context
from encrypted_serde.asgi import EncryptionContextMiddleware
from tests.web import test_django  # configures it
from tests.web.test_fastapi import dependency, seen, sync_dependency

PAGE = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
STEPS = 4


def table(first: str) -> dict[tuple[str, str], str]:
    """Reads a table of the page: what stands in each cell, by the name of its row and column."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], kind): cell for row in rows for kind, cell in zip(head[1:], row[1:], strict=True)}


def steps() -> Iterator[str]:
    for _ in range(STEPS):
        yield seen() + " "


async def asteps() -> AsyncIterator[str]:
    for _ in range(STEPS):
        yield seen() + " "


def block_steps(tenant: str) -> Iterator[str]:
    with encryption_context(tenant_id=tenant):
        yield from steps()


async def block_asteps(tenant: str) -> AsyncIterator[str]:
    with encryption_context(tenant_id=tenant):
        async for part in asteps():
            yield part


class Later:
    """A background task, of either kind, that notes whom it saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def plain(self) -> None:
        self.seen.append(seen())

    async def coroutine(self) -> None:
        self.seen.append(seen())


# --- FastAPI ----------------------------------------------------------------------------------------------------------

Tenant = Annotated[str, Header()]


def fastapi_app(wrap: Callable[[str, Any], Any], later: Later, **options: Any) -> FastAPI:
    """An application with one endpoint of each kind.

    Args:
        wrap: What is done with the function that does the work of a tenant.
        later: What is run in the background.
        **options: For `FastAPI`.
    """
    app = FastAPI(default_response_class=PlainTextResponse, **options)

    async def coroutine() -> str:
        return seen()

    @app.get("/async endpoint")
    async def in_the_loop(tenant: Tenant) -> Any:
        return await wrap(tenant, coroutine)()

    @app.get("/sync endpoint")
    def in_a_thread(tenant: Tenant) -> Any:
        return wrap(tenant, seen)()

    @app.get("/stream of an async generator")
    async def stream(tenant: Tenant) -> Any:
        return StreamingResponse(wrap(tenant, asteps)())

    @app.get("/stream of a sync generator")
    async def sync_stream(tenant: Tenant) -> Any:
        return StreamingResponse(wrap(tenant, steps)())

    @app.get("/background task")
    async def background(tenant: Tenant, tasks: BackgroundTasks) -> str:
        tasks.add_task(wrap(tenant, later.plain))
        tasks.add_task(wrap(tenant, later.coroutine))
        return "later"

    return app


def not_at_all(tenant: str, function: Any) -> Any:
    return function


def decorated(tenant: str, function: Any) -> Any:
    return encryption_context(tenant_id=tenant)(function)


def with_block_inside(tenant: str, function: Any) -> Any:
    if function is steps or function is asteps:
        return lambda: (block_steps if function is steps else block_asteps)(tenant)
    if function is seen:

        def call() -> Any:
            with encryption_context(tenant_id=tenant):
                return function()

        return call

    async def acall() -> Any:
        with encryption_context(tenant_id=tenant):
            result = function()
            return await result if hasattr(result, "__await__") else result

    return acall


def with_block_around(tenant: str, function: Any) -> Any:
    """As an endpoint that has its block around whatever it calls and returns."""
    if function is steps or function is asteps:

        def call() -> Any:
            with encryption_context(tenant_id=tenant):
                return function()

        return call
    if getattr(function, "__self__", None) is not None:  # a background task: handed over within the block, run after it
        with encryption_context(tenant_id=tenant):
            return function
    return with_block_inside(tenant, function)


def tenant_of(scope: Any) -> dict[str, str]:
    return {"tenant_id": dict(scope["headers"])[b"tenant"].decode()}


def with_middleware(later: Later) -> Any:
    app = fastapi_app(not_at_all, later)
    app.add_middleware(EncryptionContextMiddleware, context=tenant_of)
    return app


FASTAPI: dict[str, Callable[[Later], Any]] = {
    "`EncryptionContextMiddleware`": with_middleware,
    "FastAPI dependency, `async def` with `yield`": lambda later: fastapi_app(
        not_at_all, later, dependencies=[Depends(dependency)]
    ),
    "FastAPI dependency, `def` with `yield`": lambda later: fastapi_app(
        not_at_all, later, dependencies=[Depends(sync_dependency)]
    ),
    "`with encryption_context(...)` in the endpoint": lambda later: fastapi_app(with_block_around, later),
    "`with encryption_context(...)` in the function that does the work": lambda later: fastapi_app(with_block_inside, later),
    "`encryption_context(...)(function)`, or as its decorator": lambda later: fastapi_app(decorated, later),
}
FASTAPI_TABLE = table("way")


async def ask(app: Any, where: str) -> str:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.get(f"/{where}", headers={"tenant": "acme"})).text


@pytest.mark.parametrize(("way", "kind"), FASTAPI_TABLE)
async def test_each_cell_of_the_first_table_is_what_happens(way: str, kind: str) -> None:
    later = Later()
    answered = await ask(FASTAPI[way](later), kind)
    whom = later.seen if kind == "background task" else answered.split()
    count = {"background task": 2}.get(kind, STEPS if "stream" in kind else 1)
    works = whom == ["acme"] * count
    assert FASTAPI_TABLE[way, kind].strip("*").startswith("yes" if works else "no"), whom


def test_the_first_table_has_every_way() -> None:
    assert {way for way, _ in FASTAPI_TABLE} == FASTAPI.keys()


# --- Django -----------------------------------------------------------------------------------------------------------


def view(way: Callable[[str, Any], Any], function: Any) -> Any:
    if function is steps or function is asteps:

        async def stream(request: HttpRequest) -> StreamingHttpResponse:
            return StreamingHttpResponse(way(request.headers["tenant"], function)())

        return stream
    if function is seen:

        def in_a_thread(request: HttpRequest) -> HttpResponse:
            return HttpResponse(way(request.headers["tenant"], seen)())

        return in_a_thread

    async def in_the_loop(request: HttpRequest) -> HttpResponse:
        return HttpResponse(await way(request.headers["tenant"], function)())

    return in_the_loop


async def acting() -> str:
    return seen()


KINDS = {
    "async view": acting, "sync view": seen, "stream of an async generator": asteps, "stream of a sync generator": steps,
}  # fmt: skip
DJANGO: dict[str, Callable[[str, Any], Any]] = {
    "`EncryptionContextMiddleware` around the ASGI application": not_at_all,
    "`with encryption_context(...)` in the view": with_block_around,
    "`with encryption_context(...)` in the stream's generator": with_block_inside,
    "`encryption_context(...)(function)`, or as its decorator": decorated,
}
DJANGO_TABLE = table("way in Django")
NUMBERS = {way: number for number, way in enumerate(DJANGO)}
urlpatterns = [path(f"{NUMBERS[way]}/{kind}", view(DJANGO[way], KINDS[kind])) for way in DJANGO for kind in KINDS]


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
@pytest.mark.parametrize(("way", "kind"), [cell for cell, text in DJANGO_TABLE.items() if text])
async def test_each_cell_of_the_second_table_is_what_happens(way: str, kind: str) -> None:
    assert settings.configured
    assert test_django.urlpatterns
    with override_settings(ROOT_URLCONF=__name__):
        app: Any = get_asgi_application()
        if "Middleware" in way:
            app = EncryptionContextMiddleware(app, context=tenant_of)
        whom = (await ask(app, f"{NUMBERS[way]}/{kind}")).split()
    works = whom == ["acme"] * (STEPS if "stream" in kind else 1)
    assert DJANGO_TABLE[way, kind].strip("*").startswith("yes" if works else "no"), whom

"""FastAPI: which ways of setting the encryption context reach async, sync and streaming endpoints, and which do not."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header
from fastapi.responses import StreamingResponse
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from encrypted_serde import ConfigurationError, EncryptedSaver, Key, encryption_context
from encrypted_serde.asgi import EncryptionContextMiddleware
from encrypted_serde.core.context import current
from tests.test_examples import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_tenants.py"
ENDPOINTS = ("/async", "/sync", "/stream")


def seen() -> str:
    context = current.get()
    return "nobody" if context is None else context.pairs.get("tenant_id", "nobody")


def service(**options: Any) -> FastAPI:
    """A service whose endpoints say which tenant they run for."""
    app = FastAPI(**options)

    @app.get("/async")
    async def in_the_loop() -> str:
        return seen()

    @app.get("/sync")
    def in_a_thread() -> str:
        return seen()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield f'"{seen()}'
            yield '"'

        return StreamingResponse(parts(), media_type="application/json")

    return app


async def ask(app: FastAPI, path: str, tenant: str = "acme") -> str:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.get(path, headers={"tenant": tenant})
        return str(answer.raise_for_status().json())


async def dependency(tenant: Annotated[str, Header()]) -> AsyncIterator[None]:
    with encryption_context(tenant_id=tenant):
        yield


def sync_dependency(tenant: Annotated[str, Header()]) -> Iterator[None]:
    with encryption_context(tenant_id=tenant):
        yield


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_the_middleware_reaches_every_kind_of_endpoint(path: str) -> None:
    app = service()
    app.add_middleware(
        EncryptionContextMiddleware, context=lambda scope: {"tenant_id": dict(scope["headers"])[b"tenant"].decode()}
    )
    assert await ask(app, path) == "acme"


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_an_async_dependency_reaches_every_kind_of_endpoint(path: str) -> None:
    assert await ask(service(dependencies=[Depends(dependency)]), path) == "acme"


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_sync_dependency_reaches_no_endpoint_and_our_error_says_so(path: str) -> None:
    with pytest.raises(ConfigurationError, match="async def"):
        await ask(service(dependencies=[Depends(sync_dependency)]), path)


async def test_an_error_of_the_endpoint_is_not_hidden_by_the_one_about_the_dependency() -> None:
    app = FastAPI(dependencies=[Depends(sync_dependency)])

    @app.get("/")
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(app, "/")


async def test_a_block_around_the_return_of_a_stream_does_not_reach_the_stream_and_one_inside_does() -> None:
    app = FastAPI()

    async def parts() -> AsyncIterator[str]:
        yield f'"{seen()}"'

    async def parts_with_a_block() -> AsyncIterator[str]:
        with encryption_context(tenant_id="acme"):
            yield f'"{seen()}"'

    @app.get("/around")
    async def around() -> StreamingResponse:
        with encryption_context(tenant_id="acme"):
            return StreamingResponse(parts())

    @app.get("/inside")
    async def inside() -> StreamingResponse:
        return StreamingResponse(parts_with_a_block())

    assert [await ask(app, "/around"), await ask(app, "/inside")] == ["nobody", "acme"]


# --- the example ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("fastapi_tenants", EXAMPLE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_example_keeps_its_tenants_apart(tmp_path: Path) -> None:
    shown = run("fastapi_tenants.py", tmp_path)
    assert shown.count("alice reads: ['one', 'noted: one', 'two', 'noted: two', 'three', 'noted: three']") == 2
    assert all(f"{who}: 403" in shown for who in ("bob reads", "bob writes", "nobody reads"))


async def test_a_request_without_a_tenant_stores_nothing(example: ModuleType) -> None:
    inner = InMemorySaver()
    app = example.create_app(example.build_agent(EncryptedSaver(inner, Key.generate(), required_context=("tenant_id",))))
    for path in ENDPOINTS:
        answer = await _post(app, path, "1", "whose am I?", headers={})
        # The head of a stream is on its way before its first value is stored: it breaks off.
        assert (answer.status_code, answer.text) == (200, "") if path == "/stream" else answer.status_code == 500
    assert [*inner.list(None)] == []


@asynccontextmanager
async def pooled_saver(dsn: str) -> AsyncIterator[AsyncPostgresSaver]:
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(dsn, min_size=4, max_size=8, kwargs=settings, open=False, timeout=120)
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver


async def _post(app: FastAPI, path: str, thread_id: str, text: str, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=120) as client:
        return await client.post(f"{path}/{thread_id}", params={"text": text}, content=text, headers=headers)

"""The middleware by itself, on the smallest ASGI applications there are; and which status fits which error."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSerdeError,
    KeyErased,
    KeyServiceError,
    PlaintextRefused,
    UnknownKey,
    WrongContext,
)
from encrypted_serde.asgi import EncryptionContextMiddleware, error_response, status_of
from encrypted_serde.core.context import acting, current

HTTP = {"type": "http", "tenant": "acme"}


def pairs() -> dict[str, str] | None:
    context = current.get()
    return None if context is None else dict(context.pairs)


def tenant(scope: Any) -> dict[str, str] | None:
    return {"tenant_id": scope["tenant"]} if scope.get("tenant") else None


async def call(scope: dict[str, Any], **options: Any) -> list[Any]:
    """Gives what the application sees: before it answers, between two parts of a stream, and in a thread."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(pairs())
        await send({"type": "http.response.start"})
        seen.append(await asyncio.to_thread(pairs))
        seen.append(acting.get())

    async def nothing(*message: Any) -> Any:
        await asyncio.sleep(0)

    await EncryptionContextMiddleware(app, **{"context": tenant, **options})(scope, nothing, nothing)
    assert current.get() is None
    return seen


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_whole_application_runs_under_the_context(kind: str) -> None:
    assert await call({**HTTP, "type": kind}) == [{"tenant_id": "acme"}, {"tenant_id": "acme"}, None]


async def test_a_request_without_a_context_runs_under_the_empty_one_and_so_reads_no_tenants_data() -> None:
    assert await call({"type": "http"}) == [{}, {}, None]


async def test_the_start_of_the_application_is_no_request() -> None:
    def fails(scope: Any) -> None:
        pytest.fail("there is nobody to ask for")

    assert await call({"type": "lifespan"}, context=fails) == [None, None, None]


async def test_the_actor_is_told_too() -> None:
    assert (await call(HTTP, actor=lambda scope: "alice"))[2] == "alice"


async def test_requests_at_the_same_time_keep_their_contexts() -> None:
    results = await asyncio.gather(*(call({"type": "http", "tenant": f"t{number}"}) for number in range(50)))
    assert [seen[1] for seen in results] == [{"tenant_id": f"t{number}"} for number in range(50)]


@pytest.mark.parametrize(
    ("answer", "error"), [("acme", TypeError), ({"tenant_id": 7}, TypeError), ({"T": "x"}, ConfigurationError)]
)
async def test_a_context_that_is_none_stops_the_request(answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await call(HTTP, context=lambda scope: answer)


@pytest.mark.parametrize(
    "options", [{"context": None}, {"context": {"tenant_id": "acme"}}, {"context": tenant, "actor": "alice"}]
)
def test_functions_that_are_none_are_refused_at_start_up(options: Any) -> None:
    with pytest.raises(TypeError, match="is a function of the ASGI scope"):
        EncryptionContextMiddleware(call, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WrongContext("x"), 403),
        (KeyErased("x", bytes(32)), 410),
        (KeyServiceError("x", retryable=True), 503),
        (KeyServiceError("x", retryable=False), 500),
        (AuthenticationFailed("x"), 500),
        (PlaintextRefused("x"), 500),
        (UnknownKey("x", bytes(32)), 500),
        (ConfigurationError("x"), 500),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_error_has_its_status_and_a_body_that_says_nothing_of_it(
    error: EncryptedSerdeError, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        response: Any = await error_response(None, error)  # type: ignore[arg-type]
    assert (status_of(error), response.status_code) == (status, status)
    assert "x" not in json.loads(response.body)["detail"].split()
    assert ("retry-after" in response.headers) == (status == 503)
    assert type(error).__name__ in caplog.text

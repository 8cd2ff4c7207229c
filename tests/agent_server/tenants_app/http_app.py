"""The start-up check, statuses for errors, a view of the calls to the key service, and erasure."""

import asyncio

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tenant_keys import calls, keys

from encrypted_serde import EncryptedSerdeError
from encrypted_serde.agent_server import startup_check
from encrypted_serde.asgi import error_response


async def key_calls(request):
    return JSONResponse(dict(calls))


async def erase(request):
    await asyncio.to_thread(keys.erase, {"tenant_id": request.path_params["tenant"]})
    return JSONResponse("erased")


app = Starlette(
    routes=[Route("/key_calls", key_calls), Route("/erase/{tenant}", erase, methods=["POST"])],
    lifespan=startup_check,
    exception_handlers={EncryptedSerdeError: error_response},
)

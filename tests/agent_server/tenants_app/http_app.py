"""The start-up check, statuses for errors, and a view of the calls to the key service."""

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tenant_keys import calls

from encrypted_serde import EncryptedSerdeError
from encrypted_serde.agent_server import startup_check
from encrypted_serde.asgi import error_response


async def key_calls(request):
    return JSONResponse(dict(calls))


app = Starlette(
    routes=[Route("/key_calls", key_calls)],
    lifespan=startup_check,
    exception_handlers={EncryptedSerdeError: error_response},
)

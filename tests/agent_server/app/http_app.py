"""The start-up check, and a way for the tests to see and change what the server stores."""

from langgraph_runtime_inmem.database import connect
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from encrypted_serde.agent_server import startup_check
from encrypted_serde.agent_server.startup import handler_calls


async def calls(request):
    return JSONResponse(dict(handler_calls))


async def stored_metadata(request):
    async with connect() as connection:
        rows = connection.store[request.path_params["table"]]
        metadata = next(row["metadata"] for row in rows if request.path_params["id"] in map(str, row.values()))
        if request.method == "PATCH":
            metadata.update(await request.json())
        return JSONResponse(metadata)


async def stored_config(request):
    async with connect() as connection:
        rows = connection.store[request.path_params["table"]]
        row = next(row for row in rows if request.path_params["id"] in map(str, row.values()))
        return JSONResponse({"__encryption_context__": row["kwargs"]["config"].get("__encryption_context__")})


app = Starlette(
    routes=[
        Route("/calls", calls),
        Route("/stored_config/{table}/{id}", stored_config),
        Route("/stored/{table}/{id}", stored_metadata, methods=["GET", "PATCH"]),
    ],
    lifespan=startup_check,
)

"""What "http" in langgraph.json points to: the server does not start unless it calls the handlers."""

from __future__ import annotations

from starlette.applications import Starlette

from encrypted_serde.agent_server import startup_check

app = Starlette(lifespan=startup_check)

"""What "http" in langgraph.json points to: the check at start-up, and statuses for errors.

The server does not start unless it calls the handlers, and unless handlers and checkpointer have the same keys.
"""

from __future__ import annotations

from starlette.applications import Starlette

from encrypted_serde import EncryptedSerdeError
from encrypted_serde.agent_server import startup_check
from encrypted_serde.asgi import error_response

app = Starlette(lifespan=startup_check, exception_handlers={EncryptedSerdeError: error_response})

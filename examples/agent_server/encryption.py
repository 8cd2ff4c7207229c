"""What LANGGRAPH_ENCRYPTION points to: the handlers, with the tenant of the authenticated user."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import EncryptionContext
from tenant_keys import REQUIRED, keys

from encrypted_serde.agent_server import make_encryption


async def tenant(user: Any, ctx: EncryptionContext) -> dict[str, str]:
    return {"tenant_id": user["tenant_id"]}


encryption = make_encryption(keys, context_from_user=tenant, required_context=REQUIRED, require_context_to_read=True)

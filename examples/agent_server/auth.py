"""Who is asking. Users are ``Bearer name@tenant`` here, without a password; put your own check in its place."""

from __future__ import annotations

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    token = headers.get(b"authorization", b"").decode()
    name, at, tenant = token.removeprefix("Bearer ").partition("@")
    if not at:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Authorization: Bearer name@tenant")
    return {"identity": f"{tenant}/{name}", "tenant_id": tenant}


@auth.on
async def only_own_rows(ctx: Auth.types.AuthContext, value: dict) -> dict[str, str] | None:
    """Filters by a key of the metadata, which therefore stays readable: make_encryption skips ``owner``."""
    owner = ctx.user.identity  # all that the server knows of a user when it runs a cron
    if ctx.resource == "store":
        value["namespace"] = (owner, *value.get("namespace", ()))
        return None
    if ctx.resource == "crons":  # langgraph dev never runs a cron with metadata: see docs/agent-server.md
        return None
    value.setdefault("metadata", {})["owner"] = owner
    return {"owner": owner}

"""Users are ``Bearer name@tenant``; no password, this is a test. They see and change only what is their tenant's."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers):
    identity = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
    if "@" not in identity:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?")
    return {"identity": identity, "tenant": identity.partition("@")[2]}


@auth.on
async def only_own_rows(ctx, value):
    tenant = ctx.user.identity.partition("@")[2]  # of whom the server runs a cron for, it knows the identity alone
    if ctx.resource == "store":
        value["namespace"] = (tenant, *value.get("namespace", ()))
        return None
    if ctx.resource == "crons":
        return None  # a cron with metadata is never run by langgraph dev: see docs/agent-server.md
    value.setdefault("metadata", {})["owner"] = tenant
    return {"owner": tenant}

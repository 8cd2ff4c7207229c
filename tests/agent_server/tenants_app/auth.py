"""Users are ``Bearer name@tenant``; no password, this is a test. They see and change only what is their tenant's."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers):
    name, at, tenant = headers.get(b"authorization", b"").decode().removeprefix("Bearer ").partition("@")
    if not at:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?")
    return {"identity": name, "tenant": tenant}


@auth.on
async def only_own_rows(ctx, value):
    if ctx.resource == "store":
        value["namespace"] = (ctx.user["tenant"], *value.get("namespace", ()))
        return None
    if ctx.resource == "crons":
        return None  # a cron with metadata is never run by langgraph dev: see docs/agent-server.md
    value.setdefault("metadata", {})["owner"] = ctx.user["tenant"]
    return {"owner": ctx.user["tenant"]}

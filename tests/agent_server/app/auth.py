"""Users are ``Bearer name@tenant``; no password, this is a test."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers):
    name, at, tenant = headers.get(b"authorization", b"").decode().removeprefix("Bearer ").partition("@")
    if not at:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?")
    return {"identity": name, "tenant": tenant}

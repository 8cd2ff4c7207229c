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
    return {"identity": name, "tenant_id": tenant}


@auth.on
async def only_own_rows(ctx: Auth.types.AuthContext, value: dict) -> dict[str, str]:
    """Filters by a key of the metadata, which therefore stays readable: make_encryption skips ``owner``."""
    owner = f"{ctx.user['tenant_id']}/{ctx.user.identity}"
    value.setdefault("metadata", {})["owner"] = owner
    return {"owner": owner}

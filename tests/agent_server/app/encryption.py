"""The handlers. ``TENANTS`` says where the tenant comes from: user, header, or nowhere."""

import os

from encrypted_serde import Keyring
from encrypted_serde.agent_server import make_encryption, trust_header
from encrypted_serde.audit import LogListener


async def tenant_of_user(user, ctx):
    if user["tenant"] == "broken":
        raise RuntimeError("the directory of tenants is down")
    return {"tenant_id": user["tenant"]}


SOURCES = {"user": tenant_of_user, "header": trust_header("tenant_id"), "nowhere": None}

encryption = make_encryption(
    Keyring.from_env(),
    context_from_user=SOURCES[os.environ["TENANTS"]],
    audit=LogListener(),
    legacy_keys=[key.encode() for key in [os.environ.get("OLD_AES_KEY")] if key],
)

"""The handlers. ``SOURCE`` says where the tenant comes from."""

import os

from tenant_keys import keys, options

from encrypted_serde.agent_server import make_encryption, trust_header


async def tenant_of_user(user, ctx):
    return {"tenant_id": user["tenant"]} if user["tenant"] else {}


SOURCES = {"user": tenant_of_user, "header": trust_header("tenant_id")}

encryption = make_encryption(keys, context_from_user=SOURCES[os.environ["SOURCE"]], **options)

"""The one keyring of the application: a data key for every tenant, wrapped under one key and kept in a store of its own.

`langgraph.json` does not name this file, so that it is imported once, by its usual name. The server loads the files that it
names under names of its own, and would make a second keyring of one that is built there.

In production the wrapping key lives in a key service, and the store in Postgres:

    keys = TenantKeyring(store, AwsKeyWrapper("arn:aws:kms:eu-central-1:111122223333:key/..."))
"""

from __future__ import annotations

import sqlite3

from langgraph.store.sqlite import SqliteStore

from encrypted_serde import Keyring, LocalKeyWrapper, TenantKeyring

_store = SqliteStore(sqlite3.connect("keys.sqlite", check_same_thread=False, isolation_level=None))
_store.setup()

keys = TenantKeyring(_store, LocalKeyWrapper(Keyring.from_env().primary))

REQUIRED = ("tenant_id",)
"""What the encryption context of every request must have: the same for handlers and checkpointer."""

"""The one keyring of this application. Imported by its usual name, and not named in langgraph.json.

``AGE`` is the cache age in seconds. The wrapper is as slow as a service, in a way that the server's detector of blocking calls
takes for one; or it is that of AWS, for the service at the URL ``KMS``.
"""

import os
import sqlite3
import time
from collections import Counter

from langgraph.store.sqlite import SqliteStore

from encrypted_serde import Key
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import CacheLimits, TenantKeyring

calls = Counter()


class SlowWrapper(LocalKeyWrapper):
    def wrap(self, secret, context):
        self._call("wrap", context)
        return super().wrap(secret, context)

    def unwrap(self, wrapped, context):
        self._call("unwrap", context)
        return super().unwrap(wrapped, context)

    def _call(self, kind, context):
        time.sleep(0.01)
        calls[f"{kind} {context.get('tenant_id', 'nobody')}"] += 1


def aws_wrapper():
    import boto3
    from botocore.config import Config

    from encrypted_serde.kms.aws import AwsKeyWrapper

    config = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
    client = boto3.client("kms", endpoint_url=os.environ["KMS"], region_name="us-east-1", config=config)
    return AwsKeyWrapper(os.environ["KMS_KEY"], client=client)


wrapper = aws_wrapper() if "KMS" in os.environ else SlowWrapper(Key.from_text(os.environ["ENCRYPTED_SERDE_KEY"]))
connection = sqlite3.connect("keys.sqlite", check_same_thread=False, isolation_level=None)
store = SqliteStore(connection)
store.setup()
keys = TenantKeyring(store, wrapper, limits=CacheLimits(age=float(os.environ.get("AGE", "300"))))

options = {
    "required_context": tuple(os.environ.get("REQUIRED", "").split()),
    "require_context_to_read": bool(os.environ.get("ONLY_OWN")),
}
"""What handlers and checkpointer have in common."""

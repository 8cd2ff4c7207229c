"""DynamoDB and S3: moto's server on loopback, found through the environment variables that every AWS client reads."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

from tests.coverage.row import Servers, Unavailable


@contextmanager
def server() -> Iterator[str]:
    """Gives the URL of the services. Clients in this process and its children use them by default."""
    try:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server
    except ImportError:
        raise Unavailable('pip install "moto[server]"') from None

    class Quiet(WSGIRequestHandler):
        def log(self, *args: Any) -> None:
            pass  # also of the errors that items give which were edited beyond what a table holds

    application = DomainDispatcherApplication(create_backend_app)
    served = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    served.daemon_threads = True
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"http://127.0.0.1:{served.server_port}"
    found = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with patch.dict(os.environ, found):
            yield url
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


def client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(service, config=Config(retries={"total_max_attempts": 1}))  # an item it cannot store it never will


class TablePlace:
    """Every item of a DynamoDB table with the keys ``PK`` and ``SK``."""

    def __init__(self, table: str) -> None:
        self.where, self.server = table, f"moto {version('moto')}"
        self._client = client("dynamodb")

    def create(self) -> None:
        self._client.create_table(
            TableName=self.where,
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
            BillingMode="PAY_PER_REQUEST",
        )

    def dump(self) -> dict[Hashable, Any]:
        pages = self._client.get_paginator("scan").paginate(TableName=self.where)
        return {(item["PK"]["S"], item["SK"]["S"]): item for page in pages for item in page["Items"]}

    def set(self, address: Any, record: Any) -> None:
        if record is None:
            key = dict(zip(("PK", "SK"), ({"S": part} for part in address), strict=True))
            self._client.delete_item(TableName=self.where, Key=key)
        else:
            self._client.put_item(TableName=self.where, Item=record)


class BucketPlace:
    """Every object of an S3 bucket."""

    def __init__(self, bucket: str) -> None:
        self.where, self.server = f"s3://{bucket}/checkpoints", f"moto {version('moto')}"
        self._bucket, self._client = bucket, client("s3")
        self._client.create_bucket(Bucket=bucket)

    def dump(self) -> dict[Hashable, Any]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        names = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {name: self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read() for name in names}

    def set(self, address: Any, record: Any) -> None:
        if record is None:
            self._client.delete_object(Bucket=self._bucket, Key=address)
        else:
            self._client.put_object(Bucket=self._bucket, Key=address, Body=record)


@contextmanager
def table(servers: Servers, *, created: bool) -> Iterator[TablePlace]:
    servers.get(server)
    place = TablePlace(f"coverage-{secrets.token_hex(6)}")
    if created:
        place.create()
    yield place


@contextmanager
def bucket(servers: Servers) -> Iterator[BucketPlace]:
    servers.get(server)
    yield BucketPlace(f"coverage-{secrets.token_hex(6)}")

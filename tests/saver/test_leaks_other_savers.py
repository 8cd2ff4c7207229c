"""Two savers that take no ``serde=`` at all: the wrapper is the only way in. Optional: run where their packages are installed.

pip install langgraph-checkpoint-objectstorage langgraph-checkpoint-aws "moto[dynamodb]"
pytest -p no:unraisableexception tests/saver/test_leaks_other_savers.py    # the first leaves its event loop open
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path

import pytest

from encrypted_serde import EncryptedSaver, Key
from tests.saver.graphs import answer, run_until_asked, whole_graph
from tests.saver.leak_scan import SECRETS, flatten, found_in
from tests.saver.test_leaks import run_all_steps

pytestmark = pytest.mark.filterwarnings("ignore")  # of packages that are not ours


@contextmanager
def _object_storage(path: Path):
    package = pytest.importorskip("langgraph_checkpoint_objectstorage")
    saver = package.ObjectStorageSaver.from_conn_string(f"file://{path}")
    yield saver, lambda: [file.read_bytes() for file in path.rglob("*") if file.is_file()]


@contextmanager
def _dynamodb(path: Path):
    pytest.importorskip("langgraph_checkpoint_aws")
    moto = pytest.importorskip("moto")
    import boto3
    from langgraph_checkpoint_aws.checkpoint.dynamodb import DynamoDBSaver

    with moto.mock_aws():
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        client = session.client("dynamodb")
        client.create_table(
            TableName="checkpoints",
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
            BillingMode="PAY_PER_REQUEST",
        )
        saver = DynamoDBSaver("checkpoints", session=session)
        yield saver, lambda: list(flatten(client.scan(TableName="checkpoints")["Items"]))


SAVERS = {"object storage": _object_storage, "DynamoDB": _dynamodb}


@pytest.mark.parametrize("kind", SAVERS)
def test_no_secret_is_stored_readable(kind, tmp_path):
    with SAVERS[kind](tmp_path) as (inner, cells):
        asyncio.run(run_all_steps(EncryptedSaver(inner, Key.generate()), is_async=False))
        assert len(cells()) > 20
        assert found_in(cells()) == set()


@pytest.mark.parametrize("kind", SAVERS)
def test_the_scan_finds_the_secrets_that_the_plain_saver_stores(kind, tmp_path):
    with SAVERS[kind](tmp_path) as (inner, cells):
        asyncio.run(run_all_steps(inner, is_async=False))
        assert found_in(cells()) >= set(SECRETS) - {"configurable"}  # DynamoDBSaver stores no configurable


@pytest.mark.parametrize("kind", SAVERS)
def test_a_whole_graph_runs(kind, tmp_path):
    with SAVERS[kind](tmp_path) as (inner, _):
        saver, config = EncryptedSaver(inner, Key.generate()), {"configurable": {"thread_id": "one"}}
        run_until_asked(saver, config)
        answer(saver, config, "yes")
        assert answer(saver, config, "no")["answer"] == "yes, no"
        assert len(list(whole_graph(saver).get_state_history(config))) > 5

"""``ObjectStorageSaver``, on files and on S3. It takes no ``serde=``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from tests.coverage.row import ASYNC, SYNC, Place, Row, Servers, Unavailable, sync_open
from tests.coverage.servers import aws, files


@sync_open
def _open(where: str, serde: Any) -> Iterator[Any]:
    from langgraph_checkpoint_objectstorage import ObjectStorageSaver

    address = where if "://" in where else f"file://{where}"
    try:
        saver = ObjectStorageSaver.from_conn_string(address)
    except ImportError as error:
        raise Unavailable(f"pip install s3fs ({error})") from None
    yield saver


def _row(name: str, place: Callable[[Servers], AbstractContextManager[Place]]) -> Row:
    return Row(name, "langgraph-checkpoint-objectstorage", place, _open, (SYNC, ASYNC), takes_serde=False)


ROWS = (_row("ObjectStorageSaver, files", files.place), _row("ObjectStorageSaver, S3", aws.bucket))

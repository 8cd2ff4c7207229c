"""`encrypted_saver` outside the server: which database it opens, and what it stores there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg.conninfo import conninfo_to_dict

from encrypted_serde import ConfigurationError, Key, WrongContext, encryption_context
from encrypted_serde.agent_server import encrypted_saver

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
SECRET = "nobody reads this"


async def put(saver: Any) -> Any:
    checkpoint = {**empty_checkpoint(), "channel_values": {"text": SECRET}, "channel_versions": {"text": "1"}}
    return await saver.aput(CONFIG, checkpoint, {"source": "loop", "step": 1, "note": SECRET}, {"text": "1"})


async def test_a_path_is_a_sqlite_file(tmp_path: Path, key: Key) -> None:
    file = tmp_path / "checkpoints.sqlite"
    async with encrypted_saver(str(file), key) as saver:
        config = await put(saver)
        found = await saver.aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"text": SECRET}
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (1,)


@pytest.mark.parametrize("form", ["connection string", "url"])
async def test_a_dsn_or_url_is_a_postgres_database(postgres_database: str, key: Key, form: str) -> None:
    parts = conninfo_to_dict(postgres_database)
    query = "&".join(f"{name}={value}" for name, value in parts.items())
    async with encrypted_saver(postgres_database if form == "connection string" else f"postgresql://?{query}", key) as saver:
        config = await put(saver)
        found = await saver.aget_tuple(config)
    assert found is not None
    assert found.metadata["note"] == SECRET
    with psycopg.connect(postgres_database) as connection:
        [[row]] = connection.execute("SELECT checkpoint::text || metadata::text FROM checkpoints").fetchall()
    assert SECRET not in row


async def test_options_reach_the_saver_and_outside_the_server_the_ambient_context_counts(tmp_path: Path, key: Key) -> None:
    async with encrypted_saver(str(tmp_path / "c.sqlite"), key, readable_metadata=["note"]) as saver:
        with encryption_context(tenant_id="acme"):
            config = await put(saver)
        with encryption_context(tenant_id="globex"), pytest.raises(WrongContext):
            await saver.aget_tuple(config)
    with closing(sqlite3.connect(tmp_path / "c.sqlite")) as connection:
        [[metadata]] = connection.execute("SELECT metadata FROM checkpoints").fetchall()
    assert SECRET in (metadata if isinstance(metadata, str) else metadata.decode())


class Opened:
    """An async context manager of a saver, as ``from_conn_string`` returns one. Notes whether it was left."""

    def __init__(self, path: str) -> None:
        self.saver = AsyncSqliteSaver.from_conn_string(path)
        self.is_left = False

    async def __aenter__(self) -> Any:
        saver = await self.saver.__aenter__()
        await saver.setup()
        return saver

    async def __aexit__(self, *error: object) -> None:
        self.is_left = True
        await self.saver.__aexit__(*error)  # type: ignore[arg-type]


async def test_any_saver_is_taken_or_what_opens_one(tmp_path: Path, key: Key) -> None:
    opened = Opened(str(tmp_path / "c.sqlite"))
    async with encrypted_saver(opened, key) as saver:
        await put(saver)
        assert not opened.is_left
    assert opened.is_left
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as inner, encrypted_saver(inner, key) as saver:
        assert await saver.aget_tuple(CONFIG) is not None
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    "database", ["mysql://user:secret@host/db", "mongodb+srv://host", "redis://host", "sqlite:///c.db", "file:c.db?mode=rw"]
)
async def test_a_url_that_is_not_known_is_no_file_of_that_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: Key, database: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="open its saver yourself") as caught:
        await encrypted_saver(database, key).__aenter__()
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_something_else_is_no_database(key: Key) -> None:
    with pytest.raises(TypeError, match="not int"):
        await encrypted_saver(7, key).__aenter__()  # type: ignore[arg-type]

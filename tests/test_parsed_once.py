"""How often a stored value is parsed on each way back, as docs/architecture.md says.

Counted where a `Sealed` is made, and where msgpack that holds sealed values is taken apart.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, Key, Keyring, encryption_context
from encrypted_serde.core.format import SEALED_MAGIC, Sealed
from encrypted_serde.maintenance import reencrypt, verify
from tests.maintenance.forms import delta_graph

KEY, OTHER = Key.generate(), Key.generate()
CONFIG: RunnableConfig = {"configurable": {"thread_id": "one"}}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each stored value was parsed; a value is told by its bytes, which hold a random nonce."""
    counts: Counter[bytes] = Counter()
    make = Sealed.__init__

    def counted(self: Sealed, head: Any, data: bytes, start: int, missing: int = 0) -> None:
        make(self, head, data, start, missing)
        counts[data[self.nonce :]] += 1

    def counted_unpacking(packed: bytes, *args: Any, **named: Any) -> Any:
        if SEALED_MAGIC in packed:
            counts[packed] += 1
        return unpack(packed, *args, **named)

    unpack = ormsgpack.unpackb
    monkeypatch.setattr(Sealed, "__init__", counted)
    monkeypatch.setattr(ormsgpack, "unpackb", counted_unpacking)
    return counts


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EncryptedSaver]:
    if request.param == "memory":
        yield _filled(InMemorySaver())
        return
    with closing(sqlite3.connect(tmp_path / "graph.sqlite", check_same_thread=False)) as connection:
        yield _filled(SqliteSaver(connection))


def _filled(inner: Any) -> EncryptedSaver:
    saver = EncryptedSaver(inner, KEY)
    config: RunnableConfig = {**CONFIG, "metadata": {"author": "alice"}}
    with encryption_context(tenant_id="acme"):
        delta_graph(saver).invoke({"log": ["a"], "messages": []}, config)
    return saver


READ: dict[str, Callable[[EncryptedSaver], object]] = {
    "get_tuple": lambda saver: saver.get_tuple(CONFIG),
    "list": lambda saver: [*saver.list(CONFIG)],
    "a filter that the database answers": lambda saver: [*saver.list(CONFIG, filter={"source": "loop"})],
    "a filter on sealed metadata": lambda saver: [*saver.list(CONFIG, filter={"author": "alice"})],
    "a filter that nothing matches": lambda saver: [*saver.list(CONFIG, filter={"author": "bob"})] == [],
    "a list of all threads of a tenant": lambda saver: _of_tenant(saver, "acme"),
    "a list that passes over another tenant": lambda saver: not _of_tenant(saver, "umbrella"),
}


def _of_tenant(saver: EncryptedSaver, tenant: str) -> list[Any]:
    with encryption_context(tenant_id=tenant):
        return [*saver.list(None)]


@pytest.mark.parametrize("way", READ)
def test_a_saver_parses_each_value_once(way: str, saver: EncryptedSaver, parsed: Counter[bytes]) -> None:
    parsed.clear()
    assert READ[way](saver)
    assert {*parsed.values()} == {1}


class CopyingSaver(InMemorySaver):
    """A saver that copies threads, which the wrapper does in its place."""

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        raise NotImplementedError


def test_copying_a_thread_parses_each_value_once(parsed: Counter[bytes]) -> None:
    saver = _filled(CopyingSaver())
    parsed.clear()
    saver.copy_thread("one", "two")
    assert {*parsed.values()} == {1}
    assert len([*saver.list({"configurable": {"thread_id": "two"}})]) == len([*saver.list(CONFIG)])


@pytest.mark.parametrize("way", ["verify", "reencrypt"])
def test_maintenance_parses_each_value_once(way: str, tmp_path: Path, parsed: Counter[bytes]) -> None:
    path = tmp_path / "graph.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        _filled(SqliteSaver(connection))
    parsed.clear()
    if way == "verify":
        assert verify(path, KEY).failures == []
    else:
        # The rows are read again to be counted at the end, and are others then.
        assert reencrypt(path, Keyring(primary=OTHER, decrypt_only=[KEY])).failures == []
    assert {*parsed.values()} == {1}

"""How often a stored value is parsed on each way back, as docs/architecture.md says: counted where a `Sealed` is made."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from encrypted_serde import EncryptedSaver, Key, Keyring
from encrypted_serde.core.format import Sealed
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

    monkeypatch.setattr(Sealed, "__init__", counted)
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
    delta_graph(saver).invoke({"log": ["a"], "messages": []}, config)
    return saver


READ: dict[str, Callable[[EncryptedSaver], object]] = {
    "get_tuple": lambda saver: saver.get_tuple(CONFIG),
    "list": lambda saver: [*saver.list(CONFIG)],
    "a filter that the database answers": lambda saver: [*saver.list(CONFIG, filter={"source": "loop"})],
    "a filter on sealed metadata": lambda saver: [*saver.list(CONFIG, filter={"author": "alice"})],
    "a filter that nothing matches": lambda saver: [*saver.list(CONFIG, filter={"author": "bob"})] == [],
}


@pytest.mark.parametrize("way", READ)
def test_a_saver_parses_each_value_once(way: str, saver: EncryptedSaver, parsed: Counter[bytes]) -> None:
    parsed.clear()
    assert READ[way](saver)
    assert {*parsed.values()} == {1}


def test_maintenance_parses_a_value_at_most_twice(tmp_path: Path, parsed: Counter[bytes]) -> None:
    path = tmp_path / "graph.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        _filled(SqliteSaver(connection))
    parsed.clear()
    assert verify(path, KEY).failures == []
    assert {*parsed.values()} == {1, 2}
    parsed.clear()
    assert reencrypt(path, Keyring(primary=OTHER, decrypt_only=[KEY])).failures == []
    assert {*parsed.values()} <= {1, 2}

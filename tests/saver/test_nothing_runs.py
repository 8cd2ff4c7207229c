"""What a row holds never runs and never ends the process, whatever switch is on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, EncryptedSerializer, Key
from encrypted_serde.saver import Traits
from encrypted_serde.wrapping.inert import MAX_DEPTH, check_depth
from tests.saver.databases import Database, Place, SqliteDatabase

CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
SNAPSHOT = 7


def _all_forms(proof: Path) -> list[ormsgpack.Ext]:
    named = [("os", "mkdir", str(proof)), ("os", "mkdir", (str(proof),)), ("os", "mkdir", {"path": str(proof)})]
    return [ormsgpack.Ext(code, ormsgpack.packb(call)) for code, call in enumerate(named)]


@pytest.mark.parametrize("form", range(3))
def test_a_call_that_plaintext_names_is_not_made_by_the_serializer(tmp_path: Path, key: Key, form: int) -> None:
    proof = tmp_path / "ran"
    packed = ormsgpack.packb(_all_forms(proof)[form])
    JsonPlusSerializer().loads_typed(("msgpack", packed))
    assert proof.exists()  # langgraph's own makes it
    proof.rmdir()
    EncryptedSerializer(key, allow_plaintext=True).loads_typed(("msgpack", packed))
    assert not proof.exists()


@pytest.mark.parametrize("form", range(3))
def test_a_call_that_plaintext_names_is_not_made_by_the_saver(store: Database, tmp_path: Path, form: int) -> None:
    proof = tmp_path / "ran"
    checkpoint = empty_checkpoint()
    checkpoint["v"] = 4
    checkpoint["channel_values"], checkpoint["channel_versions"] = {"a": ["x"]}, {"a": "1"}
    inner = store.plain() if isinstance(store.plain(), InMemorySaver) else store.plain(serde=_Forging(proof, form))
    if isinstance(inner, InMemorySaver):
        inner.serde = _Forging(proof, form)
    stored = inner.put(CONFIG, checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"a": "1"})
    inner.put_writes(stored, [("a", ["x"])], "task")
    saver = store.saver(allow_plaintext=True, serde=JsonPlusSerializer())
    assert saver.get_tuple(CONFIG) is not None
    assert [*saver.list(CONFIG)]
    assert not proof.exists()


class _Forging(JsonPlusSerializer):
    """Writes a call wherever a list ``["x"]`` is, as somebody who can write rows would."""

    def __init__(self, proof: Path, form: int) -> None:
        super().__init__()
        self._call = _all_forms(proof)[form]

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        type_tag, packed = super().dumps_typed(obj)
        forged = ormsgpack.packb(self._call)
        return type_tag, packed.replace(ormsgpack.packb(["x"]), forged)


@dataclass
class Mine:
    """A class of an application."""

    number: int


def test_classes_of_the_application_are_read_from_plaintext_where_they_are_allowed(key: Key) -> None:
    packed = JsonPlusSerializer().dumps_typed(Mine(5))
    strict = EncryptedSerializer(key, allow_plaintext=True).loads_typed(packed)
    assert not isinstance(strict, Mine)
    allowing = JsonPlusSerializer(allowed_msgpack_modules=[(Mine.__module__, Mine.__qualname__)])
    assert EncryptedSerializer(key, serde=allowing, allow_plaintext=True).loads_typed(packed) == Mine(5)


# --- depth


def _nested(levels: int, arrays: int, code: int = SNAPSHOT) -> bytes:
    value = b"\xc0"
    for _ in range(levels):
        inside = b"\x91" * arrays + value
        value = b"\xc9" + len(inside).to_bytes(4, "big") + bytes((code,)) + inside
    return value


@pytest.mark.parametrize("code", [SNAPSHOT, 0, 2, 5, 42])
@pytest.mark.parametrize(("levels", "arrays"), [(900, 0), (50, 1000), (300, 1000)])
def test_a_value_of_a_few_kilobytes_does_not_end_the_process(key: Key, levels: int, arrays: int, code: int) -> None:
    program = f"""
import sys
from encrypted_serde import EncryptedSaver, EncryptedSerdeError, EncryptedSerializer, Key
from langgraph.checkpoint.memory import InMemorySaver
packed = bytes.fromhex(sys.stdin.read())
try:
    EncryptedSerializer(Key.generate(), allow_plaintext=True).loads_typed(("msgpack", packed))
except EncryptedSerdeError:
    pass
for switch in (False, True):
    saver = EncryptedSaver(InMemorySaver(), Key.generate(), allow_plaintext=switch)
    saver.inner.storage["1"][""]["x"] = (("msgpack", packed), ("msgpack", packed), None)
    try:
        saver.get_tuple({CONFIG!r})
    except EncryptedSerdeError as error:
        print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=_nested(levels, arrays, code).hex(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stdout.split())) == (0, 2), done.stderr[-300:]


def test_honest_values_are_not_too_deep() -> None:
    check_depth(ormsgpack.packb({"a": [list(range(5000)), {"b": ormsgpack.Ext(5, ormsgpack.packb(["m", "n", {"x": [1]}]))}]}))
    check_depth(b"\x91" * (MAX_DEPTH - 2) + b"\xc0" + b"")
    with pytest.raises(EncryptedSerdeError):
        check_depth(_nested(4, 400) + b"")


# --- a saver that nobody knows


def test_a_saver_that_nobody_declared_admits_no_plaintext_beside_a_manifest(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "app.db")
    config = _stored(EncryptedSaver(database.plain(), database.key, traits=Traits()))
    place = Place("1", "", config["configurable"]["checkpoint_id"])
    for edit in ({"a": ["forged"]}, {"a": database.sealed(place, "a"), "b": "forged"}, {"b": 5}):
        before = database.checkpoint(place)
        database.edit_checkpoint(place, lambda document: document["channel_values"].update(edit))  # noqa: B023
        for switches in ({}, {"allow_plaintext": True}):
            with pytest.raises(EncryptedSerdeError):
                EncryptedSaver(database.plain(), database.key, traits=Traits(), **switches).get_tuple(config)
        database.store_checkpoint(place, before)
    assert EncryptedSaver(database.plain(), database.key, traits=Traits()).get_tuple(config) is not None
    database.connection.close()


def _stored(saver: EncryptedSaver) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["v"] = 4
    checkpoint["channel_values"], checkpoint["channel_versions"] = {"a": ["x"]}, {"a": "1", "b": "1"}
    return saver.put(CONFIG, checkpoint, {"source": "loop", "step": 1}, {"a": "1"})

"""No row that was not sealed ever reaches a deserializer that builds objects, neither the wrapper's nor the inner saver's."""

from __future__ import annotations

import os
import pickle
import random
from contextlib import suppress

import ormsgpack
import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as Upstream
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from encrypted_serde import (
    EncryptedSaver,
    EncryptedSerdeError,
    EncryptedSerializer,
    Key,
    MalformedEnvelope,
    PlaintextRefused,
    Sealer,
    UnsupportedCipher,
    WrongLocation,
)
from encrypted_serde.wrapping.gate import Admission, Deferred, Foreign, Gate
from tests.saver.databases import PostgresDatabase
from tests.saver.threads import assert_refused, write_thread
from tests.tampering import RecordingSerializer, run_command

ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"


class _RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def _hostile(canary):
    return [("msgpack", run_command(canary)), ("pickle", pickle.dumps(_RunsCode(canary)))]


def _inject(database, here, where, type_tag, blob):
    if where == "write":
        database.sql(f"UPDATE {{writes}} SET type = ?, {{value}} = ? WHERE {ROW} AND channel = 'log'", type_tag, blob, *here)
    elif isinstance(database, PostgresDatabase):
        database.sql("UPDATE checkpoint_blobs SET type = ?, blob = ? WHERE channel = 'log'", type_tag, blob)
    elif where == "checkpoint":
        database.sql(f"UPDATE checkpoints SET type = ?, checkpoint = ? WHERE {ROW}", type_tag, blob, *here)
    else:
        code = ormsgpack.unpackb(blob, ext_hook=lambda code, data: ormsgpack.Ext(code, data)) if type_tag == "msgpack" else blob
        database.edit_checkpoint(here, lambda document: document["channel_values"].update(log=code))


# rule T-11
@pytest.mark.parametrize("which", [0, 1], ids=["msgpack", "pickle"])
@pytest.mark.parametrize("where", ["value", "write", "checkpoint"])
def test_a_hostile_row_runs_no_code(database, where, which, tmp_path):
    canary = tmp_path / "canary"
    type_tag, blob = _hostile(canary)[which]
    JsonPlusSerializer(pickle_fallback=True).loads_typed((type_tag, blob))
    assert canary.exists(), "the row would run code in a serializer that is not guarded"
    canary.unlink()
    inner = database.plain(serde=JsonPlusSerializer(pickle_fallback=True))
    _, here = write_thread(database.saver(inner=inner), "one")
    _inject(database, here, where, type_tag, blob)
    for saver in (database.saver(inner=inner), database.saver()):
        for read in (saver.get_tuple, lambda config, saver=saver: list(saver.list(config))):
            with pytest.raises(EncryptedSerdeError) as caught:
                read(here.config)
            assert type(caught.value) in (PlaintextRefused, MalformedEnvelope)
            assert not canary.exists()
        with suppress(EncryptedSerdeError):  # the fast way does not read the whole row
            saver.get_delta_channel_history(config=_child_of(database, here), channels=["log"])
        assert not canary.exists()


def _child_of(database, here):
    child = {"v": 4, "id": "f" * 8, "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    return database.saver().put(here.config, child, {"source": "loop"}, {})


@pytest.mark.parametrize("where", ["value", "write"])
def test_a_plaintext_row_is_refused(database, where):
    _, here = write_thread(database.saver(), "one")
    _inject(database, here, where, *JsonPlusSerializer().dumps_typed(["made up"]))
    assert_refused(database, here, PlaintextRefused)


@pytest.mark.parametrize("where", ["value", "write"])
def test_a_row_of_the_unbound_serializer_is_refused(database, where):
    _, here = write_thread(database.saver(), "one")
    type_tag, blob = EncryptedSerializer(database.key).dumps_typed(["pasted"])
    if where == "value" and not isinstance(database, PostgresDatabase):
        blob = b"\xc1ES1" + len(type_tag).to_bytes(2, "big") + type_tag.encode() + blob
        database.store_sealed(here, "log", blob)
    else:
        _inject(database, here, where, type_tag, blob)
    assert_refused(database, here, WrongLocation, "not bound")


def test_a_row_of_langgraphs_own_serializer_is_refused(database):
    _, here = write_thread(database.saver(), "one")
    legacy = Upstream.from_pycryptodome_aes(key=bytes(16))
    _inject(database, here, "write", *legacy.dumps_typed(["pasted"]))
    assert_refused(database, here, UnsupportedCipher)


# rule T-11
def test_nothing_of_a_checkpoint_is_deserialized_before_all_of_it_is_verified(database):
    _, here = write_thread(database.saver(), "one")
    database.sql(f"UPDATE {{writes}} SET type = 'json' WHERE {ROW} AND idx = -1", *here)
    serde = RecordingSerializer()
    with pytest.raises(PlaintextRefused):
        database.saver(serde=serde).get_tuple(here.config)
    assert serde.read == []


def _gate(**switches):
    key = Key.generate()
    options = {"plaintext": False, "unbound": False, **switches}
    return Gate(Admission(Sealer(key), legacy_keys=[bytes(16)] if switches else [], **options))


@pytest.mark.parametrize("switches", [{}, {"plaintext": True, "unbound": True}])
def test_the_gate_reads_any_bytes_under_any_type_without_raising(switches):
    # Some savers turn an error into "no checkpoint", and the thread would silently start afresh.
    gate, chance = _gate(**switches), random.Random(7)
    tags = [
        "msgpack",
        "bytes",
        "null",
        "json",
        "pickle",
        "bytes+aes",
        "msgpack+xaes-256-gcm",
        "+",
        "x+y",
        "",
        None,
        5,
        b"msgpack",
    ]
    blobs = [
        None,
        "text",
        10**15,
        1.5,
        b"",
        bytearray(b"\x01"),
        memoryview(b"\x91\x01"),
        b"\xc1ES1",
        b"\x91" * 5000,
        b"\xc7\x00" * 50,
    ]
    blobs += [ormsgpack.packb(ormsgpack.Ext(code, data)) for code in range(9) for data in (b"", b"\xc1", b"\x93\x01\x02")]
    blobs += [
        ormsgpack.packb(ormsgpack.Ext(100, ormsgpack.packb(pair))) for pair in (1, [], ["x"], ["x", 5], [5, b""], [None, None])
    ]
    blobs += [chance.randbytes(chance.randrange(40)) for _ in range(500)]
    for tag in tags:
        for blob in blobs:
            gate.loads_typed((tag, blob))


def test_the_gate_builds_nothing_but_plain_data(tmp_path):
    found = _gate().loads_typed(("msgpack", ormsgpack.packb({"x": ormsgpack.Ext(5, run_command(tmp_path / "canary"))})))
    assert type(found["x"]).__name__ == "Inert"
    assert not (tmp_path / "canary").exists()
    assert isinstance(_gate().loads_typed(("msgpack", b"\xc1")), Foreign)


def test_the_gate_gives_back_what_it_packed():
    gate = _gate()
    assert gate.dumps_typed(None) == ("null", b"")
    assert gate.dumps_typed(b"sealed") == gate.dumps_typed(Deferred(lambda: b"sealed")) == ("bytes", b"sealed")
    document = {"a": [1, "x", None, 0.5], "s": _DeltaSnapshot(b"sealed"), 5: b"bytes"}
    assert gate.loads_typed(gate.dumps_typed(document)) == document


def test_the_gate_writes_nothing_that_was_not_handed_to_it_sealed():
    with pytest.raises(TypeError):
        _gate().dumps_typed({"value": object()})


def test_what_is_not_taken_over_is_packed_again_as_it_was():
    # Postgres unpacks and packs the pending sends of old formats before the wrapper sees them.
    gate = _gate()
    for foreign in (gate.loads_typed(("json", b"{}")), gate.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(3, b"x"))))):
        [again] = gate.loads_typed(gate.dumps_typed([foreign]))
        assert type(again) is type(foreign)
        assert [getattr(again, name) for name in ("data",)] == [foreign.data]


def test_a_deferred_value_is_sealed_once():
    calls = []
    deferred = Deferred(lambda: calls.append(1) or b"sealed")
    assert (deferred.sealed(), deferred.sealed(), calls) == (b"sealed", b"sealed", [1])


def test_the_inner_saver_given_is_left_as_it_was(database):
    inner = database.plain()
    serde = inner.serde
    saver = EncryptedSaver(inner, database.key)
    write_thread(saver, "one")
    assert saver.inner is inner
    assert inner.serde is serde

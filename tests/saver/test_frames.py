"""Error reporters show the variables of every frame. Those of a refusal show no plaintext."""

from __future__ import annotations

import traceback

import pytest
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, WrongLocation
from tests.saver.databases import Place
from tests.saver.test_interface import _Everything
from tests.saver.threads import TASKS, make_checkpoint
from tests.tampering import changed

SECRET = "SECRET"
ROW = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"


def _write(database, **options):
    """A checkpoint with secrets in scalars, lists, a snapshot, metadata and writes; the last of each kind can be broken."""
    saver = database.saver(**options)
    values = {name: f"{SECRET} {name}" for name in ("a", "z")}
    values |= {"list": [f"{SECRET} list"], "zlist": [f"{SECRET} zlist"], "items": _DeltaSnapshot([f"{SECRET} items"])}
    versions = dict.fromkeys(values, f"{1:032}.0.5")
    config = {"configurable": {"thread_id": "one", "checkpoint_ns": "", "token": f"{SECRET} token"}}
    metadata = {"source": "loop", "step": 1, "email": f"{SECRET} email", "team": "red", "count": 5}
    checkpoint = make_checkpoint(1, values, versions)
    stored = saver.put(config, checkpoint, metadata, versions)
    writes = [("a", f"{SECRET} write a"), ("list", [f"{SECRET} write list"])]
    saver.put_writes(stored, writes, TASKS[0])
    saver.put_writes(stored, writes, TASKS[1])
    return Place("one", "", checkpoint["id"])


def _shown(act):
    """Gives the secrets that the frames of a refusal show, as an error reporter would print them."""
    with pytest.raises(EncryptedSerdeError) as caught:
        act()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    # The frames of this test hold the secrets themselves; those of the package and of the savers come after them.
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    return [line for frame in report.stack[2:] for line in (frame.locals or {}).values() if SECRET in line]


@pytest.mark.parametrize("channel", ["z", "zlist"])
def test_a_changed_value_shows_nothing_of_the_others(database, channel):
    here = _write(database)
    sealed = database.sealed(here, channel)
    other = database.sealed(here, "a" if channel == "z" else "list")
    database.store_sealed(here, channel, changed(sealed) if isinstance(sealed, bytes) else other)
    for act in _reads(database, here):
        assert _shown(act) == []


def _reads(database, here, **options):
    saver = database.saver(**options)
    yield lambda: saver.get_tuple(here.config)
    yield lambda: list(saver.list(here.config, filter={"email": "x"})) or saver.get_tuple(here.config)


@pytest.mark.parametrize("change", ["write", "doubled", "metadata", "step", "unlisted", "key"])
def test_no_refusal_shows_plaintext(database, change):
    here = _write(database)
    if change == "write":
        [(value,)] = database.sql("SELECT {value} FROM {writes} WHERE task_id = ? AND channel = 'list'", TASKS[1])
        database.sql("UPDATE {writes} SET {value} = ? WHERE task_id = ? AND channel = 'list'", changed(value), TASKS[1])
    elif change == "doubled":
        columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, channel, type, {value}"
        database.sql(
            f"INSERT INTO {{writes}} ({columns}, idx) SELECT {columns}, 77 FROM {{writes}} WHERE task_id = ? AND idx = 1",
            TASKS[1],
        )
    elif change == "metadata":
        database.edit_metadata(here, lambda metadata: metadata.update(source="fork"))
    elif change == "step":
        database.edit_metadata(here, lambda metadata: metadata.update(step=1.0))
    elif change == "unlisted":
        database.edit_checkpoint(here, lambda document: document["channel_values"].update(more=None))
    else:
        database.edit_checkpoint(here, lambda document: document.update(ts="2020"))
    for act in _reads(database, here):
        assert _shown(act) == []


def test_a_refused_row_shows_nothing_of_those_before_it(database):
    saver = database.saver()
    here = _write(database)
    config = here.config
    for step in (2, 3):
        checkpoint = make_checkpoint(step, {"a": f"{SECRET} {step}"}, {"a": f"{step:032}.0.5"})
        config = saver.put(config, checkpoint, {"source": "loop", "step": step}, checkpoint["channel_versions"])
    database.edit_checkpoint(here, lambda document: document.update(ts="2020"))
    thread = {"configurable": {"thread_id": "one"}}
    assert len(list(database.saver().list(thread, limit=2))) == 2
    assert _shown(lambda: list(database.saver().list(thread))) == []
    assert _shown(lambda: list(database.saver().list(thread, filter={"step": 1}))) == []


def test_a_gap_in_a_history_shows_nothing_of_what_is_left(database):
    here = _write(database)
    saver = database.saver()
    child = saver.put(here.config, make_checkpoint(2, {}, {}), {"source": "loop"}, {})
    saver.put_writes(here.config, [("m", f"{SECRET} one"), ("m", f"{SECRET} two")], TASKS[0][:-1] + "d")
    database.sql("DELETE FROM {writes} WHERE channel = 'm' AND idx = 0")
    for verify in (False, True):
        wrapped = database.saver(verify_delta_history=verify)
        assert _shown(lambda wrapped=wrapped: wrapped.get_delta_channel_history(config=child, channels=["list", "m"])) == []


def test_a_copy_that_is_refused_shows_nothing_of_the_rows_before(key):
    saver = EncryptedSaver(_Everything(), key)
    config = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
    for step in range(2):
        checkpoint = make_checkpoint(step, {"a": f"{SECRET} {step}"}, {"a": step + 1})
        config = saver.put(config, checkpoint, {"source": "loop", "step": step}, checkpoint["channel_versions"])
        saver.put_writes(config, [("a", f"{SECRET} write")], TASKS[0])
    saver.inner.blobs["one", "", "a", 2] = saver.inner.blobs["one", "", "a", 1]
    assert _shown(lambda: saver.copy_thread("one", "two")) == []


def test_a_row_that_a_filter_did_not_ask_for_shows_nothing(database):
    options = {"readable_metadata": ["team"]}
    here = _write(database, **options)
    plain = type(database.plain())

    class Careless(plain):
        def list(self, config, *, filter=None, **more):  # noqa: A002
            yield from super().list(config, **more)

    saver = database.saver(inner=Careless(database.connection), **options)
    with pytest.raises(WrongLocation):
        list(saver.list(here.config, filter={"team": "blue"}))
    assert _shown(lambda: list(saver.list(here.config, filter={"team": "blue"}))) == []


def test_an_unbound_value_and_the_wrong_claims_show_nothing(key):
    from encrypted_serde.core import binding
    from encrypted_serde.core.sealer import Sealer

    sealer, place = Sealer(key, compression="zstd"), binding.Place.of("t", "")
    sealed = sealer.seal_bound("bytes", SECRET.encode() * 50, binding.value(place, "x", 1))
    assert _shown(lambda: sealer.open_bound(sealed, binding.value(place, "x", 2))) == []

"""A thread that was begun without the wrapper goes on with it, mid-thread and without losing a channel."""

from __future__ import annotations

import pickle

import pytest
from Crypto.Cipher import AES
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer as Upstream
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from encrypted_serde import (
    AuthenticationFailed,
    EncryptedSaver,
    EncryptedSerdeError,
    EncryptedSerializer,
    Key,
    MalformedEnvelope,
    PlaintextRefused,
    UnsupportedCipher,
    WrongLocation,
)
from tests.saver.databases import MemoryDatabase, Place, PostgresDatabase
from tests.saver.graphs import answer, run_until_asked, whole_graph
from tests.saver.threads import write_thread
from tests.tampering import run_command

RAW = bytes(range(32))
OURS = Key.generate()
CONFIG = {"configurable": {"thread_id": "one", "email": "x@example.org"}}

STARTS = {
    "plaintext": (None, {"allow_plaintext": True}),
    "upstream, EAX": (lambda: Upstream.from_pycryptodome_aes(key=RAW), {"legacy_keys": [RAW]}),
    "upstream, GCM": (lambda: Upstream.from_pycryptodome_aes(key=RAW, mode=_gcm()), {"legacy_keys": [RAW]}),
    "our serializer": (lambda: EncryptedSerializer(OURS), {"allow_unbound": True}),
}


def _gcm():
    return AES.MODE_GCM


def _before(store, start):
    """Opens the saver with which the thread was begun, and says which switches read it."""
    make_serde, switches = STARTS[start]
    serde = make_serde() if make_serde else JsonPlusSerializer()
    if isinstance(store, MemoryDatabase):
        store.inner.serde = serde
        inner = store.inner
    else:
        inner = store.plain(serde=serde)
    if isinstance(store, PostgresDatabase):  # it inlines scalars in plaintext whatever its serializer
        switches = {**switches, "allow_plaintext": True}
    return inner, {"keys": OURS, "inner": inner, **switches}


def _seen(saver):
    return [
        (state.values, state.next, state.metadata["step"], state.metadata.get("email"))
        for state in whole_graph(saver).get_state_history(CONFIG)
    ]


@pytest.mark.parametrize("start", STARTS)
def test_a_thread_goes_on_from_its_interrupt_without_losing_a_channel(store, start):
    inner, options = _before(store, start)
    run_until_asked(inner, CONFIG)
    answer(inner, CONFIG, "yes")
    begun = _seen(inner)
    assert _seen(store.saver(**options)) == begun
    final = answer(store.saver(**options), CONFIG, "no")
    assert final == {
        "question": "why",
        "answer": "yes, no",
        "count": 1,
        "ratio": 0.5,
        "done": True,
        "nothing": None,
        "log": [
            "planned",
            "worked on why/left",
            "worked on why/right",
            "planned",
            "worked on why/left",
            "worked on why/right",
            "in the child",
            "answered",
            "finished",
        ],
    }
    assert _seen(store.saver(**options))[-len(begun) :][1:] == begun[1:]
    again = run_until_asked(store.saver(**options), CONFIG, "more")
    assert again["question"] == "more"


@pytest.mark.parametrize("start", STARTS)
def test_the_same_thread_is_refused_without_the_switches(store, start):
    inner, _ = _before(store, start)
    run_until_asked(inner, CONFIG)
    error = UnsupportedCipher if start.startswith("upstream") else PlaintextRefused
    if start == "our serializer":
        error = WrongLocation
    if isinstance(store, PostgresDatabase):  # the checkpoint itself is plain JSON there, under any serializer
        error = PlaintextRefused
    saver = store.saver(keys=OURS, inner=inner)
    for read in (saver.get_tuple, lambda config: list(saver.list({"configurable": {"thread_id": "one"}}))):
        with pytest.raises(EncryptedSerdeError) as caught:
            read(CONFIG)
        assert type(caught.value) is error
    with pytest.raises(EncryptedSerdeError):
        answer(saver, CONFIG, "yes")


@pytest.mark.parametrize("start", ["plaintext", "our serializer"])
def test_new_rows_are_sealed_from_then_on(database, start):
    inner, options = _before(database, start)
    run_until_asked(inner, CONFIG)
    old = {row[0] for row in database.sql("SELECT checkpoint_id FROM checkpoints")}
    answer(database.saver(**options), CONFIG, "yes")
    answer(database.saver(**options), CONFIG, "no")
    new = [Place(*row) for row in database.sql("SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints")]
    new = [place for place in new if place.checkpoint_id not in old]
    assert new
    for place in new:
        assert set(database.metadata(place)) <= {"source", "step", "parents", "es1"}
        for value in database.checkpoint(place)["channel_values"].values():
            assert value is None or value.startswith("es1." if isinstance(value, str) else b"\xc1ES1")
    written = database.sql("SELECT checkpoint_id, {value} FROM {writes}")
    assert all(bytes(value).startswith(b"\xc1ES1") for checkpoint_id, value in written if checkpoint_id not in old)


def test_the_switch_is_needed_until_every_channel_was_written_again(store):
    inner, options = _before(store, "plaintext")
    run_until_asked(inner, CONFIG)
    answer(store.saver(**options), CONFIG, "yes")
    answer(store.saver(**options), CONFIG, "no")
    strict = store.saver(keys=OURS, inner=inner)
    if isinstance(store, (MemoryDatabase, PostgresDatabase)):
        with pytest.raises(PlaintextRefused):  # a list that did not change since is still the old blob
            strict.get_tuple(CONFIG)
        for values in ({"question": "again"}, {"log": ["again"]}, {"answer": "again", "count": 2}):
            whole_graph(store.saver(**options)).update_state(CONFIG, values, as_node="finish")
        for _ in range(2):
            run_until_asked(store.saver(**options), CONFIG)
            answer(store.saver(**options), CONFIG, "a")
            answer(store.saver(**options), CONFIG, "b")
    assert strict.get_tuple(CONFIG).checkpoint["channel_values"]["answer"]


def test_a_sealed_row_is_verified_under_every_switch(database):
    # With a switch on nothing is promised against made-up rows, but a sealed one still opens only in its place.
    every = {"allow_plaintext": True, "allow_unbound": True, "legacy_keys": [RAW]}
    _, here = write_thread(database.saver(), "one")
    _, there = write_thread(database.saver(), "two")
    database.store_sealed(here, "note", database.sealed(there, "note"))
    with pytest.raises(AuthenticationFailed):
        database.saver(**every).get_tuple(here.config)


def test_text_that_looks_sealed_but_is_a_users_own_survives(database):
    for text in ("es1.", "es1.hello", "es1.AAAA", "es1." + "x" * 100, "es1s.x"):
        database.clear()
        inner, options = _before(database, "plaintext")
        run_until_asked(inner, CONFIG, question=text)
        assert whole_graph(database.saver(**options)).get_state(CONFIG).values["question"] == text
        answer(database.saver(**options), CONFIG, "a")
        assert answer(database.saver(**options), CONFIG, "b")["question"] == text


def test_a_pickle_is_never_read_from_plaintext(database):
    inner, options = _before(database, "plaintext")
    _, here = write_thread(inner, "one")
    database.sql("UPDATE {writes} SET type = 'pickle', {value} = ? WHERE channel = 'log'", pickle.dumps(["x"]))
    options["inner"] = database.plain(serde=JsonPlusSerializer(pickle_fallback=True))
    with pytest.raises(PlaintextRefused):
        database.saver(**options).get_tuple(here.config)


def test_relabelled_bytes_of_upstreams_serializer_run_no_code(database, tmp_path):
    # Its type tag is not authenticated: bytes that a user chose can be made msgpack.
    inner, options = _before(database, "upstream, EAX")
    _, here = write_thread(inner, "one")
    tag, blob = Upstream.from_pycryptodome_aes(key=RAW).dumps_typed(run_command(tmp_path / "canary"))
    assert tag == "bytes+aes"
    database.sql("UPDATE {writes} SET type = 'msgpack+aes', {value} = ? WHERE channel = 'log'", blob)
    found = database.saver(**options).get_tuple(here.config)
    assert not (tmp_path / "canary").exists()
    assert found is not None


@pytest.mark.parametrize("blob", [b"", b"short", bytes(64)])
def test_a_broken_row_of_upstreams_serializer_is_refused(database, blob):
    inner, options = _before(database, "upstream, EAX")
    _, here = write_thread(inner, "one")
    database.sql("UPDATE {writes} SET {value} = ? WHERE channel = 'log'", blob)
    with pytest.raises(EncryptedSerdeError) as caught:
        database.saver(**options).get_tuple(here.config)
    assert type(caught.value) is (MalformedEnvelope if len(blob) < 32 else AuthenticationFailed)


def test_a_plain_row_under_another_id_is_refused_even_while_plaintext_is_read(database):
    inner, options = _before(database, "plaintext")
    old, new = write_thread(inner, "one")
    database.store_checkpoint(new, database.checkpoint(old))
    with pytest.raises(WrongLocation):
        database.saver(**options).get_tuple(new.config)


def test_filters_find_plain_and_sealed_rows_while_both_are_there(store):
    inner, options = _before(store, "plaintext")
    config = {"configurable": {"thread_id": "one", "user": "alice"}}
    run_until_asked(inner, config)
    plain_rows = len(list(inner.list(config, filter={"user": "alice"})))
    for more in ({}, {"readable_metadata": ["user"]}, {"searchable_metadata": ["user"], "context": {}}):
        saver = store.saver(**options, **more)
        assert len(list(saver.list(config, filter={"user": "alice"}))) == plain_rows
    saver = store.saver(**options)
    answer(saver, config, "yes")
    answer(saver, config, "no")
    assert len(list(saver.list(config, filter={"user": "alice"}))) > plain_rows
    assert list(saver.list(config, filter={"user": "bob"})) == []


def test_no_switch_is_on_by_default(key):
    assert not EncryptedSaver(InMemorySaver(), key)._wiring.admission

"""What is entered when rows are stored, replaced, seen and deleted, and what is required afterwards; and the secret."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from encrypted_serde import AnchorError, Key, KeyErased, Keyring, KeyServiceError, SqliteAnchor, encryption_context
from encrypted_serde.anchor import Entry, Kind, MemoryAnchor
from encrypted_serde.anchor.client import AnchorClient, NewWrites
from encrypted_serde.anchor.compare import FoundRow, FoundWrite
from encrypted_serde.anchor.entries import ABOUT_ITSELF, id_bytes, unpack_slots
from encrypted_serde.anchor.ledger import Standing
from encrypted_serde.anchor.names import Names, Spot, reseal
from encrypted_serde.core.binding import Place
from tests.anchor.entries import IDS

HERE = Place.of("thread", "")


@pytest.fixture
def client(anchor, key):
    return AnchorClient(anchor, key)


def _store(client, number, place=HERE):
    return client.stored([client.begin_checkpoint(place, IDS[number])])


def _begin(client, *slots, number=0, settles=True):
    return client.begin_writes(HERE, NewWrites(IDS[number], "task", slots, settles, settles))


def _write(client, batch, *slots, **options):
    return client.stored(client.writes_entries(_begin(client, *slots, **options), batch))


def _judged(client, *found, number=0):
    writes = [FoundWrite(task, slot, batch) for task, slot, batch in found]
    view = client.checkpoint(HERE, IDS[number])
    return view, view.judge(FoundRow("", IDS[number], writes))


def _gaps(client, *found, number=0):
    _, judged = _judged(client, *found, number=number)
    found = [each.batch for each in judged.stale], [each.batch for each in judged.unknown]
    return [slot for _, slot in judged.missing], *found


def test_every_slot_is_required(client):
    _write(client, "a", 0, 1)
    assert _gaps(client, ("task", 0, "a"), ("task", 1, "a")) == ([], [], [])
    assert _gaps(client, ("task", 0, "a")) == ([1], [], [])
    assert _gaps(client) == ([0, 1], [], [])
    assert _gaps(client, ("another", 0, "a"), ("task", 1, "a")) == ([0], [], ["a"])


def test_the_first_ordinary_write_stays(client):
    _write(client, "a", 0)
    _write(client, "b", 0, 1)
    assert _gaps(client, ("task", 0, "a"), ("task", 1, "b")) == ([], [], [])
    assert _gaps(client, ("task", 0, "b"), ("task", 1, "b")) == ([], ["b"], [])


def test_the_newest_special_write_counts(client):
    _write(client, "a", -3)
    _write(client, "b", -3)
    assert _gaps(client, ("task", -3, "b")) == ([], [], [])
    assert _gaps(client, ("task", -3, "a")) == ([], ["a"], [])
    assert _gaps(client) == ([-3], [], [])


def test_a_write_is_entered_as_replaced_once(client, anchor):
    for batch in "abc":
        _write(client, batch, -3)
    entries = anchor.entries(client.names.thread("thread"))
    assert [(entry.batch, unpack_slots(entry.slots)) for entry in entries if entry.kind == Kind.REPLACED] == [
        (b"a", [-3]),
        (b"b", [-3]),
    ]


def test_a_write_replaces_what_was_there_before_it_began_although_that_was_forgotten_meanwhile(client):
    _write(client, "a", -3)
    begun = _begin(client, -3)
    view, judged = _judged(client, ("task", -3, "a"))
    client.forget(view, judged.spot)
    client.stored(client.writes_entries(begun, "b"))
    assert _gaps(client, ("task", -3, "b")) == ([], [], [])
    assert _gaps(client, ("task", -3, "a")) == ([], ["a"], [])


def test_another_process_knows_what_it_read(anchor, key):
    _write(AnchorClient(anchor, key), "a", 0, -3)
    other = AnchorClient(anchor, key)
    _write(other, "b", 0, -3)
    assert _gaps(other, ("task", 0, "a"), ("task", -3, "b")) == ([], [], [])
    assert _gaps(other, ("task", 0, "b"), ("task", -3, "a")) == ([], ["b", "a"], [])


def test_a_process_that_looked_up_the_newest_checkpoint_knows_what_was_written_to_it(anchor, key):
    one, other = AnchorClient(anchor, key), AnchorClient(anchor, key)
    _store(one, 0)
    _write(one, "a", 0, -3)
    assert other.newest(HERE).newest("") == IDS[0]
    _write(other, "b", 0, -3)
    assert _gaps(other, ("task", 0, "a"), ("task", -3, "b")) == ([], [], [])
    assert _gaps(other, ("task", 0, "b"), ("task", -3, "a")) == ([], ["b", "a"], [])


# rule A-5
@pytest.mark.parametrize("slot", [0, -3])
def test_of_writes_that_overlapped_either_may_be_there_until_one_is_seen(anchor, key, slot):
    one, other = AnchorClient(anchor, key), AnchorClient(anchor, key)
    begun = [_begin(one, slot), _begin(other, slot)]
    one.stored(one.writes_entries(begun[0], "a"))
    other.stored(other.writes_entries(begun[1], "b"))
    for batch in "ab":
        assert _gaps(one, ("task", slot, batch)) == ([], [], [])
    other.enter(*_judged(other, ("task", slot, "b")))
    assert _gaps(one, ("task", slot, "b")) == ([], [], [])
    assert _gaps(one, ("task", slot, "a")) == ([], ["a"], [])


# rule A-5
def test_of_two_slots_that_were_written_twice_both_are_decided_by_what_is_seen(anchor, key):
    one, other = AnchorClient(anchor, key), AnchorClient(anchor, key)
    begun = [_begin(one, 0, 1), _begin(other, 0, 1)]
    one.stored(one.writes_entries(begun[0], "a"))
    other.stored(other.writes_entries(begun[1], "b"))
    one.enter(*_judged(one, ("task", 0, "b"), ("task", 1, "b")))
    assert _gaps(one, ("task", 0, "a"), ("task", 1, "a")) == ([], ["a", "a"], [])


def test_an_entry_about_a_checkpoint_says_nothing_of_tasks(client):
    view, judged = _judged(client)
    token = client.names.thread("thread")
    assert [*view.seen(judged)] == [Entry(token, *judged.spot, Kind.CHECKPOINT)]
    assert view.ended(judged.spot, Kind.KEPT) == Entry(token, *judged.spot, Kind.KEPT, known=view.ledger.newest)
    assert view.ended(None, Kind.GONE) == Entry(token, b"", b"", Kind.GONE, known=view.ledger.newest)


def test_what_may_go_either_way_is_not_decided(client):
    assert not any(NewWrites(IDS[0], "task", [0])[3:])
    for slot in (0, -3):
        _write(client, "a", slot, settles=False)
        _write(client, "b", slot, settles=False)
        for batch in "ab":
            assert _gaps(client, ("task", slot, batch))[1] == []


# rule A-5
def test_a_write_that_was_not_entered_is_unknown_and_then_entered(client):
    _write(client, "a", 0, -3)
    view, judged = _judged(client, ("task", 0, "a"), ("task", -3, "b"))
    assert (judged.missing, judged.stale) == ([], [])
    assert client.enter(view, judged) == 2  # the checkpoint, and the write
    assert _gaps(client, ("task", 0, "a"), ("task", -3, "b")) == ([], [], [])
    assert _gaps(client, ("task", 0, "a"), ("task", -3, "a")) == ([], ["a"], [])
    assert not _judged(client, ("task", 0, "a"), ("task", -3, "b"))[1].is_news


# rule A-5
def test_a_write_replaces_one_that_was_entered_when_it_was_seen(client):
    _write(client, "a", -3)
    client.enter(*_judged(client, ("task", -3, "unknown")))
    _write(client, "b", -3)
    assert _gaps(client, ("task", -3, "b")) == ([], [], [])
    assert _gaps(client, ("task", -3, "unknown")) == ([], ["unknown"], [])


# rule A-5
def test_a_checkpoint_that_was_entered_across_the_end_of_its_deletion_is_required_once_it_was_seen(client, anchor, key):
    running = AnchorClient(anchor, key)
    begun = running.begin_checkpoint(HERE, IDS[0])
    spot = client.thread("thread").spot("", IDS[0])
    client.announce("thread", [spot])
    client.end(client.thread("thread"), {spot: Kind.KEPT})
    running.stored([begun])
    view, judged = _judged(client)
    assert judged.standing is Standing.LATE
    client.enter(view, judged)
    assert client.place(HERE).ledger.required() == [spot]


def _accept(client, *found):
    view, judged = _judged(client, *found)
    client.anchor.append([*view.accepted(judged)])
    client.forget(view, judged.spot)


def test_an_operator_accepts_the_writes_that_are_there_and_no_others(client):
    for batch in "ab":
        _write(client, batch, -3)
    _write(client, "c", 0, 1)
    _accept(client, ("task", -3, "a"), ("task", 0, "c"))
    assert _gaps(client, ("task", -3, "a"), ("task", 0, "c")) == ([], [], [])
    assert _gaps(client, ("task", -3, "b"), ("task", 0, "c")) == ([], ["b"], [])
    assert _gaps(client, ("task", -3, "a"), ("task", 0, "c"), ("task", 1, "c")) == ([], ["c"], [])
    assert _gaps(client) == ([-3, 0], [], [])


def test_a_write_whose_absence_was_accepted_can_be_made_again(anchor, key):
    client = AnchorClient(anchor, key)
    _write(client, "a", 0)
    _accept(client)
    other = AnchorClient(anchor, key)
    _write(other, "b", 0)
    assert _gaps(other, ("task", 0, "b")) == ([], [], [])
    assert _gaps(other) == ([0], [], [])


def test_of_a_checkpoint_above_all_that_were_there_nothing_is_looked_up(client, monkeypatch):
    looked = []
    monkeypatch.setattr(client, "checkpoint", lambda place, checkpoint_id: looked.append(checkpoint_id))
    client.newest(HERE)
    _begin(client, 0, number=1)
    _store(client, 1)
    client.newest(HERE)
    for number in (0, 2):
        _begin(client, 0, number=number)
    assert looked == [IDS[0]]


def test_the_newest_checkpoint_is_required(client):
    assert client.newest(HERE).newest("") is None
    for number in (0, 2, 1):
        _store(client, number)
    assert client.newest(HERE).newest("") == IDS[2]
    assert len(client.place(HERE).ledger.required()) == 3
    assert client.newest(Place.of("thread", "child")).newest("child") is None
    assert client.newest(Place.of("other", "")).newest("") is None


# rule A-3
def test_a_process_that_did_not_see_a_deletion_is_told_when_it_enters_something(client, anchor, key):
    running = AnchorClient(anchor, key)
    begun = running.begin_checkpoint(HERE, IDS[1])
    _store(client, 0)
    client.announce("thread")
    client.end(client.thread("thread"), {}, Kind.GONE)
    assert running.stored([]) is False
    assert running.stored([begun]) is True  # stored before the rows were deleted, or after: nobody can say
    view = client.place(HERE)
    assert [view.ledger.checkpoint(view.spot("", each)).name for each in IDS[:2]] == ["DELETED", "LATE"]
    assert _store(running, 2) is False
    assert client.newest(HERE).newest("") == IDS[2]
    running.enter(view, view.judge(FoundRow("", IDS[1], [])))
    assert client.checkpoint(HERE, IDS[1]).newest("") == IDS[1]


# rule A-3
def test_what_is_stored_after_the_end_of_a_deletion_is_required(client):
    _store(client, 0)
    client.announce("thread")
    client.end(client.thread("thread"), {}, Kind.GONE)
    assert client.newest(HERE).newest("") is None
    _store(client, 1)
    _write(client, "a", 0, -3, number=1)
    _, judged = _judged(client, number=1)
    assert judged.standing is Standing.REQUIRED
    assert sorted(slot for _, slot in judged.missing) == [-3, 0]


def test_what_was_written_before_a_deletion_has_no_slot_after_it(client):
    _store(client, 0)
    _write(client, "a", 0)
    client.announce("thread")
    client.end(client.thread("thread"), {}, Kind.GONE)
    assert client.newest(HERE).newest("") is None
    _store(client, 0)
    _write(client, "b", 0)
    assert _gaps(client, ("task", 0, "b")) == ([], [], [])
    assert _gaps(client) == ([0], [], [])


def test_a_row_that_was_deleted_on_purpose_and_is_there_counts_for_nothing(client):
    _store(client, 0)
    _write(client, "a", 0)
    client.announce("thread")
    client.end(client.thread("thread"), {}, Kind.GONE)
    row = FoundRow("", IDS[0], [FoundWrite("task", 1, "b")])
    view = client.place(HERE)
    judged = view.judge(row)
    assert judged == (row, view.spot("", IDS[0]), Standing.DELETED, (), (), (), ())
    unlike = judged._replace(missing=[(b"", 0)], stale=row.writes, unknown=row.writes, others=[(row.writes[0], b"c")])
    assert (unlike.counts, unlike.to_enter, unlike.is_news, unlike.problem) == (False, 0, False, None)
    assert unlike._replace(standing=Standing.REQUIRED).is_news
    assert judged._replace(standing=Standing.REQUIRED, others=unlike.others).is_news
    assert [judged._replace(standing=standing).to_enter for standing in Standing] == [1, 0, 0, 0, 1, 0]


# --- the secret


# rule A-2
def test_one_place_has_one_name_whatever_becomes_of_the_keys(anchor):
    first, second, third = Key.generate(), Key.generate(), Key.generate()
    token = AnchorClient(anchor, first).names.thread("thread")
    assert AnchorClient(anchor, Keyring(primary=second, decrypt_only=[first])).names.thread("thread") == token
    assert AnchorClient(anchor, second).names.thread("thread") == token
    with pytest.raises(AnchorError, match="keyring holds none") as caught:
        AnchorClient(anchor, third).newest(HERE)
    ids = sorted(each.id.hex()[:12] for each in (first, second))
    assert f"under {', '.join(ids)}, and" in str(caught.value)
    assert caught.value.retryable is False
    assert [entry[:4] for entry in anchor.entries(ABOUT_ITSELF)] == [(ABOUT_ITSELF, b"", b"", Kind.SECRET)] * 2
    assert reseal(anchor, Keyring(primary=second)) is False
    assert reseal(anchor, Keyring(primary=third, decrypt_only=[second])) is True


# rule A-2
def test_names_are_the_same_in_every_release():
    names = Names(bytes(range(32)))
    spot = Spot(names.namespace("thread", "child"), id_bytes(IDS[0]))
    assert [names.thread("thread").hex(), spot.namespace.hex(), names.task(spot, "task").hex()] == [
        "f554c4d18a47151318d2f8ed3c80b724",
        "1300afdb1b2775b0",
        "8e9bf46fcb4213e7",
    ]
    assert names.namespace("other", "child") != spot.namespace
    assert names.task(spot._replace(namespace=b""), "task") != names.task(spot, "task")
    assert names.thread("\udc80") != names.thread("\udc81")  # what is no text is a name all the same


def test_what_is_missing_is_named_newest_first_whatever_its_namespace(client):
    for number, namespace in ((1, "b"), (0, "a"), (2, "a"), (3, "b")):
        _store(client, number, Place.of("thread", namespace))
    view = client.thread("thread")
    assert [*map(view.newest, ("a", "b", ""))] == [IDS[2], IDS[3], None]
    assert [spot.checkpoint for spot in view.missing([])] == [id_bytes(IDS[number]) for number in (3, 2, 1, 0)]
    assert [spot.checkpoint for spot in view.missing([view.spot("a", IDS[2])])] == [
        id_bytes(IDS[number]) for number in (3, 1, 0)
    ]
    assert view.missing([], view.spot("a", IDS[0]).namespace) == [view.spot("a", IDS[number]) for number in (2, 0)]


# rule A-2
def test_a_client_that_only_reads_neither_draws_nor_seals_anew(anchor):
    first, second = Key.generate(), Key.generate()
    with pytest.raises(AnchorError, match="anchor init"):
        AnchorClient(anchor, first, writes=False).newest(HERE)
    names = AnchorClient(anchor, first).names
    reader = AnchorClient(anchor, Keyring(primary=second, decrypt_only=[first]), writes=False)
    assert reader.names.thread("thread") == names.thread("thread")
    assert len(anchor.entries(ABOUT_ITSELF)) == 1


# rule A-2
def test_of_two_processes_that_begin_at_once_both_have_the_same_secret(anchor, key):
    from encrypted_serde.anchor import names

    clients, append = [AnchorClient(anchor, key), AnchorClient(anchor, key)], names._append

    def late(*arguments):
        names._append = append
        clients[1].names.thread("thread")  # the other one is faster
        append(*arguments)

    names._append = late
    assert clients[0].names.thread("thread") == clients[1].names.thread("thread")
    assert len(anchor.entries(ABOUT_ITSELF)) == 2


# rule A-2
def test_an_anchor_with_entries_and_no_secret_is_no_new_one(anchor, key):
    AnchorClient(anchor, key).names.thread("thread")
    entries = MemoryAnchor()
    entries.append([each._replace(thread=b"x" * 16) for each in anchor.entries(ABOUT_ITSELF)])
    with pytest.raises(AnchorError, match="no secret"):
        AnchorClient(entries, key).newest(HERE)


# rule A-2
def test_an_anchor_has_keys_of_its_own(key, tmp_path):
    own = Key.generate()
    SqliteAnchor(tmp_path / "anchor.db").setup()
    client = AnchorClient(SqliteAnchor(tmp_path / "anchor.db", keys=own), key)
    _store(client, 0)
    with pytest.raises(AnchorError, match="keyring holds none"):
        AnchorClient(SqliteAnchor(tmp_path / "anchor.db"), key).newest(HERE)
    assert MemoryAnchor(keys=own).keys is own


# rule A-2
def test_the_secret_is_sealed_without_the_context_of_who_came_first(anchor, key):
    with encryption_context(tenant_id="acme"):
        token = AnchorClient(anchor, key).names.thread("thread")
    assert AnchorClient(anchor, key).names.thread("thread") == token
    with encryption_context(tenant_id="other"):
        assert AnchorClient(anchor, key).names.thread("thread") == token


# rule A-2
def test_a_provider_that_has_no_key_without_a_tenant_is_told_to_give_the_anchor_keys(anchor):
    from encrypted_serde import ConfigurationError

    class PerTenant:
        def encryption_key(self, context):
            raise ConfigurationError("no tenant_id")

        decryption_key = encryption_key

    with pytest.raises(AnchorError, match="keys= of its own"):
        AnchorClient(anchor, PerTenant()).newest(HERE)


# rule A-2
def test_a_copy_under_a_key_that_was_erased_is_passed_over(anchor):
    erased, left = Key.generate(), Key.generate()
    token = AnchorClient(anchor, erased).names.thread("thread")

    class Provider:
        def encryption_key(self, context):
            return {(): left}[tuple(context)]

        def decryption_key(self, key_id, context):
            if key_id != left.id or context:
                raise KeyErased("this key was destroyed", key_id=key_id)
            return left

    with pytest.raises(AnchorError, match="keyring holds none"):
        AnchorClient(anchor, Provider()).newest(HERE)
    AnchorClient(anchor, Keyring(primary=left, decrypt_only=[erased])).newest(HERE)
    assert AnchorClient(anchor, Provider()).names.thread("thread") == token


@pytest.mark.parametrize("retryable", [True, False])
def test_what_a_key_service_says_of_the_secret_may_pass_or_not_as_it_says(anchor, key, retryable):
    AnchorClient(anchor, key).newest(HERE)

    class Provider:
        def encryption_key(self, context):
            raise KeyServiceError("no answer", retryable=retryable)

        def decryption_key(self, key_id, context):
            raise KeyServiceError("no answer", retryable=retryable)

    for anchored, writes in ((anchor, True), (anchor, False), (MemoryAnchor(), True)):
        with pytest.raises(AnchorError, match="no answer") as caught:
            AnchorClient(anchored, Provider(), writes=writes).newest(HERE)
        assert caught.value.retryable is retryable


# rule A-6
def test_a_secret_that_is_missing_or_damaged_does_not_come_back_by_itself(anchor, key):
    with pytest.raises(AnchorError, match="no secret") as caught:
        AnchorClient(anchor, key, writes=False).newest(HERE)
    assert caught.value.retryable is False
    AnchorClient(anchor, key).newest(HERE)
    damaged = MemoryAnchor()
    damaged.append([each._replace(batch=each.batch[:-40]) for each in anchor.entries(ABOUT_ITSELF)])
    with pytest.raises(AnchorError, match="damaged") as caught:
        AnchorClient(damaged, key).newest(HERE)
    assert caught.value.retryable is False


def test_a_client_that_writes_asks_first_whether_it_can_and_one_that_reads_does_not(key):
    class ReadOnly(MemoryAnchor):
        def check_writable(self):
            raise AnchorError("only read", retryable=False)

    anchor = ReadOnly()
    with pytest.raises(AnchorError, match="only read"):
        AnchorClient(anchor, key).newest(HERE)
    assert anchor.threads() == []
    anchor.append(_with_a_secret(key).entries(ABOUT_ITSELF))
    assert AnchorClient(anchor, key, writes=False).newest(HERE).newest("") is None


def _with_a_secret(key):
    anchor = MemoryAnchor()
    AnchorClient(anchor, key).newest(HERE)
    return anchor


def test_nothing_of_an_entry_can_be_read(client, anchor):
    _store(client, 0)
    _write(client, "a", 0)
    for token in anchor.threads():
        for entry in anchor.entries(token):
            assert b"thread" not in b"".join(entry[:3])
            assert entry.task != b"task"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_what_was_known_whatever_the_other_threads_did(key):
    client = AnchorClient(MemoryAnchor(), key)
    _store(client, 0)
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with client._lock:
            held.set()
            let_go.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()  # while another thread holds the lock, which the child inherits
    if child == 0:
        try:
            signal.alarm(20)
            _store(client, 1)
            os._exit(0 if client.newest(HERE).newest("") == IDS[1] else 1)
        finally:
            os._exit(2)
    let_go.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def test_a_standing_that_is_higher_counts():
    assert Standing.REQUIRED > Standing.LATE > Standing.GOING > Standing.REPLACED > Standing.DELETED > Standing.UNKNOWN

"""What is entered when rows are stored, replaced and deleted, and what is missed afterwards."""

from __future__ import annotations

import pytest

from encrypted_serde import ConfigurationError, Key, Keyring
from encrypted_serde.anchor import Kind, MemoryAnchor
from encrypted_serde.anchor.keeper import Keeper, NewWrites, Where
from encrypted_serde.anchor.ledger import Standing
from encrypted_serde.anchor.watch import FoundWrite
from tests.anchor.entries import IDS

HERE = Where("thread", "", {})


@pytest.fixture
def keeper(anchor, key):
    return Keeper(anchor, Keyring(primary=key))


def _store(keeper, number):
    keeper.stored(keeper.begin_checkpoint(HERE, IDS[number]))


def _begin(keeper, *slots, number=0, settles=True):
    return keeper.begin_writes(HERE, NewWrites(IDS[number], "task", slots, settles, settles))


def _write(keeper, batch, *slots, **options):
    keeper.stored_writes(_begin(keeper, *slots, **options), batch)


def _gaps(keeper, *found, number=0):
    writes = [FoundWrite(task, slot, batch) for task, slot, batch in found]
    gaps = keeper.checkpoint(HERE, IDS[number]).writes(IDS[number], writes)
    return [slot for _, slot in gaps.missing], [write.batch for write in gaps.stale], [write.batch for write in gaps.unknown]


def test_every_slot_is_missed(keeper):
    _write(keeper, "a", 0, 1)
    assert _gaps(keeper, ("task", 0, "a"), ("task", 1, "a")) == ([], [], [])
    assert _gaps(keeper, ("task", 0, "a")) == ([1], [], [])
    assert _gaps(keeper) == ([0, 1], [], [])
    assert _gaps(keeper, ("another", 0, "a"), ("task", 1, "a")) == ([0], [], ["a"])


def test_the_first_ordinary_write_stays(keeper):
    _write(keeper, "a", 0)
    _write(keeper, "b", 0, 1)
    assert _gaps(keeper, ("task", 0, "a"), ("task", 1, "b")) == ([], [], [])
    assert _gaps(keeper, ("task", 0, "b"), ("task", 1, "b")) == ([], ["b"], [])


def test_the_newest_special_write_counts(keeper):
    _write(keeper, "a", -3)
    _write(keeper, "b", -3)
    assert _gaps(keeper, ("task", -3, "b")) == ([], [], [])
    assert _gaps(keeper, ("task", -3, "a")) == ([], ["a"], [])
    assert _gaps(keeper) == ([-3], [], [])


def test_another_process_knows_what_it_read(anchor, key):
    _write(Keeper(anchor, Keyring(primary=key)), "a", 0, -3)
    other = Keeper(anchor, Keyring(primary=key))
    _write(other, "b", 0, -3)
    assert _gaps(other, ("task", 0, "a"), ("task", -3, "b")) == ([], [], [])
    assert _gaps(other, ("task", 0, "b"), ("task", -3, "a")) == ([], ["b", "a"], [])


@pytest.mark.parametrize("slot", [0, -3])
def test_of_writes_that_overlapped_either_may_stand(anchor, key, slot):
    one, other = Keeper(anchor, Keyring(primary=key)), Keeper(anchor, Keyring(primary=key))
    begun = [_begin(one, slot), _begin(other, slot)]
    one.stored_writes(begun[0], "a")
    other.stored_writes(begun[1], "b")
    for batch in "ab":
        assert _gaps(one, ("task", slot, batch)) == ([], [], [])
    _write(one, "c", slot)
    assert _gaps(one, ("task", slot, "c")) == ([], [], []) if slot < 0 else ([], ["c"], [])


def test_what_may_go_either_way_is_not_decided(keeper):
    for slot in (0, -3):
        _write(keeper, "a", slot, settles=False)
        _write(keeper, "b", slot, settles=False)
        for batch in "ab":
            assert _gaps(keeper, ("task", slot, batch))[1] == []


def test_a_write_that_was_not_entered_is_unknown_and_then_entered(keeper):
    _write(keeper, "a", 0, -3)
    watch = keeper.checkpoint(HERE, IDS[0])
    gaps = watch.writes(IDS[0], [FoundWrite("task", 0, "a"), FoundWrite("task", -3, "b")])
    assert (gaps.missing, gaps.stale) == ([], [])
    assert keeper.enter_found(watch, IDS[0], gaps.unknown) == 2  # the checkpoint, and the write
    assert _gaps(keeper, ("task", 0, "a"), ("task", -3, "b")) == ([], [], [])
    assert _gaps(keeper, ("task", 0, "a"), ("task", -3, "a")) == ([], ["a"], [])
    assert keeper.checkpoint(HERE, IDS[0]).checkpoint(IDS[0]) is Standing.REQUIRED


def test_nothing_is_entered_twice_where_all_is_known(keeper, anchor):
    _store(keeper, 0)
    _write(keeper, "a", 0)
    watch = keeper.checkpoint(HERE, IDS[0])
    assert keeper.enter_found(watch, IDS[0], watch.writes(IDS[0], [FoundWrite("task", 0, "a")]).unknown) == 0


def test_the_newest_checkpoint_is_required(keeper):
    assert keeper.newest(HERE).required() == set()
    _store(keeper, 0)
    _store(keeper, 2)
    _store(keeper, 1)
    assert keeper.newest(HERE).required() == {IDS[2]}
    assert keeper.place(HERE).required() == {IDS[0], IDS[1], IDS[2]}
    assert keeper.newest(HERE._replace(checkpoint_ns="child")).required() == set()
    assert keeper.newest(HERE._replace(thread_id="other")).required() == set()


def test_a_deleted_thread_starts_anew(keeper, anchor, key):
    running = Keeper(anchor, Keyring(primary=key))
    running.newest(HERE)
    begun = running.begin_checkpoint(HERE, IDS[1])
    _store(keeper, 0)
    keeper.mark(HERE, Kind.DELETED)
    running.stored(begun)  # stored before the rows were deleted, or after: nobody can say
    watch = keeper.place(HERE)
    assert (watch.checkpoint(IDS[0]), watch.checkpoint(IDS[1])) == (Standing.DELETED, Standing.OPTIONAL)
    assert keeper.newest(HERE).required() == set()
    _store(keeper, 0)
    assert keeper.newest(HERE).required() == {IDS[0]}
    assert Keeper(anchor, Keyring(primary=key)).newest(HERE).required() == {IDS[0]}


def test_a_thread_is_settled_after_a_part_of_it_was_deleted(keeper):
    for number in range(4):
        _store(keeper, number)
        _write(keeper, "a", 0, number=number)
    keeper.mark(HERE, Kind.THINNED)
    assert keeper.place(HERE).required() == set()
    unsettled = keeper.unsettled(HERE)
    keeper.settle(unsettled, keeper.spots(HERE, IDS[2:4]))
    watch = keeper.place(HERE)
    assert watch.required() == {*IDS[2:4]}
    assert watch.checkpoint(IDS[0]) is Standing.DELETED
    assert _gaps(keeper, number=3) == ([0], [], [])


def test_what_was_stored_while_a_thread_was_settled_stays(keeper, anchor, key):
    _store(keeper, 0)
    keeper.mark(HERE, Kind.THINNED)
    unsettled = keeper.unsettled(HERE)
    _store(Keeper(anchor, Keyring(primary=key)), 1)
    keeper.settle(unsettled, [])
    assert keeper.place(HERE).required() == {IDS[1]}


def test_entries_from_before_a_rotation_are_found(anchor):
    old, new = Key.generate(), Key.generate()
    before = Keeper(anchor, Keyring(primary=old))
    _store(before, 0)
    _write(before, "a", 0, -3)
    after = Keeper(anchor, Keyring(primary=new, decrypt_only=[old]))
    assert after.newest(HERE).required() == {IDS[0]}
    _write(after, "b", 0, -3)
    _store(after, 1)
    assert after.newest(HERE).required() == {IDS[0], IDS[1]}
    for keys in (Keyring(primary=new, decrypt_only=[old]), Keyring(primary=old, decrypt_only=[new])):
        later = Keeper(anchor, keys)
        assert _gaps(later, ("task", 0, "a"), ("task", -3, "b")) == ([], [], [])
        assert _gaps(later, ("task", 0, "b"), ("task", -3, "a")) == ([], ["b", "a"], [])
        assert _gaps(later) == ([0, -3, -3], [], []) or _gaps(later)[0]
    after.mark(HERE, Kind.DELETED)
    assert Keeper(anchor, Keyring(primary=old, decrypt_only=[new])).place(HERE).required() == set()


def test_a_thread_that_is_settled_after_a_rotation(anchor):
    old, new = Key.generate(), Key.generate()
    before = Keeper(anchor, Keyring(primary=old))
    _store(before, 0)
    _store(before, 1)
    after = Keeper(anchor, Keyring(primary=new, decrypt_only=[old]))
    after.mark(HERE, Kind.THINNED)
    after.settle(after.unsettled(HERE), after.spots(HERE, [IDS[1]]))
    assert after.place(HERE).required() == {IDS[1]}


def test_keys_that_cannot_be_searched_for_are_refused(key):
    class Provider:
        def encryption_key(self, context):
            return key

        def decryption_key(self, key_id, context):
            return key

    with pytest.raises(ConfigurationError, match="search_keys"):
        Keeper(MemoryAnchor(), Provider())


def test_an_anchor_holds_nothing_readable(shared_anchor, tmp_path, key):
    keeper = Keeper(shared_anchor, Keyring(primary=key))
    where = Where("thread-of-alice", "namespace-of-bob", {"tenant": "acme"})
    keeper.stored(keeper.begin_checkpoint(where, IDS[0]))
    keeper.stored_writes(keeper.begin_writes(where, NewWrites(IDS[0], "task-of-carol", (0,))), "a")
    found = repr([shared_anchor.entries(thread) for thread in shared_anchor.threads()])
    assert IDS[0].replace("-", "") not in found
    for name in ("alice", "bob", "carol", "acme", "tenant"):
        assert name not in found

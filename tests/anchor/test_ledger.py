"""What follows from entries: each rule on its own."""

from __future__ import annotations

import pytest

from encrypted_serde.anchor import Kind
from encrypted_serde.anchor.entries import OWN, id_bytes
from encrypted_serde.anchor.ledger import Ledger, Standing
from encrypted_serde.anchor.names import Spot
from tests.anchor.entries import IDS, NAMESPACE, TASK, about, thread, wrote

SPOTS = [Spot(NAMESPACE, id_bytes(each)) for each in IDS]
GOING, GONE, KEPT = Kind.GOING, Kind.GONE, Kind.KEPT


def _ledger(*entries):
    return Ledger([entry._replace(number=number) for number, entry in enumerate(entries, start=1)])


def _standings(*entries, count=2):
    ledger = _ledger(*entries)
    return [ledger.checkpoint(spot).name for spot in SPOTS[:count]]


def _slots(ledger, number=0):
    return {slot: batches for (_, slot), batches in ledger.writes(SPOTS[number]).items()}


def test_what_was_stored_is_required():
    ledger = _ledger(about(0), wrote(0, b"a", 0, 1))
    assert ledger.checkpoint(SPOTS[0]) is Standing.REQUIRED
    assert ledger.checkpoint(SPOTS[1]) is Standing.UNKNOWN
    assert ledger.writes(SPOTS[0]) == {(TASK, slot): {b"a": Standing.REQUIRED} for slot in (0, 1)}


# rule A-3
@pytest.mark.parametrize("ends", [[], [thread(GONE, known=3)]], ids=["open", "ended"])
def test_what_was_entered_before_a_deletion_of_its_thread_is_deleted(ends):
    ledger = _ledger(about(0), wrote(0, b"a", 0), thread(), *ends)
    assert ledger.checkpoint(SPOTS[0]) is Standing.DELETED
    assert _slots(ledger) == {0: {b"a": Standing.DELETED}}
    assert ledger.required() == []
    assert ledger.is_open is not bool(ends)


# rule A-3
@pytest.mark.parametrize(
    ("ends", "standing"), [([], "GOING"), ([thread(GONE, known=3)], "DELETED"), ([thread(KEPT, known=3)], "REQUIRED")]
)
def test_writes_that_were_entered_before_a_deletion_and_their_checkpoint_after_it_may_be_there_while_it_is_open(ends, standing):
    ledger = _ledger(wrote(0, b"a", 0), thread(), about(0, known=2), *ends)
    assert _slots(ledger) == {0: {b"a": Standing[standing]}}


# rule A-3
def test_writes_of_before_a_deletion_that_ended_are_deleted_while_another_is_open():
    ledger = _ledger(wrote(0, b"a", 0), thread(), thread(GONE, known=2), thread(), about(0, known=4))
    assert ledger.checkpoint(SPOTS[0]) is Standing.GOING
    assert _slots(ledger) == {0: {b"a": Standing.DELETED}}


# rule A-3
def test_what_is_stored_while_a_thread_is_being_deleted_may_go_with_it():
    assert _standings(about(0), thread(), about(1, known=2)) == ["DELETED", "GOING"]
    assert _ledger(thread(), about(0)).going() == []  # which names checkpoints


# rule A-3
def test_what_began_before_the_end_of_a_deletion_is_late_and_what_began_later_is_required():
    entries = [about(0), thread(), thread(GONE, known=2), about(1, known=2), about(2, known=3)]
    assert _standings(*entries, count=3) == ["DELETED", "LATE", "REQUIRED"]


# rule A-3
def test_a_deletion_that_failed_takes_nothing():
    assert _standings(about(0), thread(), about(1, GONE, known=2), thread(KEPT, known=2)) == ["REQUIRED", "DELETED"]
    assert _standings(about(0), thread(), thread(KEPT, known=2), about(1, known=1)) == ["REQUIRED", "LATE"]
    assert _standings(thread(), about(0), thread(KEPT, known=2), count=1) == ["REQUIRED"]
    assert _standings(thread(), about(0), thread(KEPT, known=1), count=1) == ["LATE"]


# rule A-3
def test_a_row_that_was_never_entered_counts_as_deleted_if_its_id_is_older_than_the_deletion():
    ledger = _ledger(thread(batch=id_bytes(IDS[1])), thread(GONE, known=1))
    assert [ledger.checkpoint(spot).name for spot in SPOTS[:3]] == ["DELETED", "UNKNOWN", "UNKNOWN"]
    assert ledger.checkpoint(Spot(NAMESPACE, b"t1")) is Standing.UNKNOWN


# rule A-3
@pytest.mark.parametrize(
    "deleted",
    [
        [thread(batch=id_bytes(IDS[1])), thread(GONE, known=1)],
        [about(0, GOING), about(0, GONE, known=1)],
        [about(0), about(0, GOING), about(0, GONE, known=2)],
    ],
    ids=["with its thread", "never entered", "entered"],
)
def test_a_later_deletion_that_is_open_brings_nothing_back(deleted):
    again = [*deleted, about(0, GOING)]
    assert _standings(*again, count=1) == ["DELETED"]
    assert _ledger(*again).going() == []
    assert _standings(*again, about(0, KEPT, known=len(again)), count=1) == ["DELETED"]


def test_a_checkpoint_that_is_stored_again_after_a_deletion_is_required_again():
    assert _standings(about(0), thread(), thread(GONE, known=2), about(0, known=3), count=1) == ["REQUIRED"]


# rule A-3
def test_a_deletion_of_checkpoints_concerns_those_that_it_names():
    before = [about(0), wrote(0, b"a", 0), about(1), about(0, GOING)]
    assert _standings(*before) == ["GOING", "REQUIRED"]
    assert _ledger(*before).going() == [SPOTS[0]]
    assert _standings(*before, about(0, GONE, known=4)) == ["DELETED", "REQUIRED"]
    assert _slots(_ledger(*before)) == {0: {b"a": Standing.GOING}}
    assert _slots(_ledger(*before, about(0, GONE, known=4))) == {0: {b"a": Standing.DELETED}}
    kept = _ledger(*before, about(0, KEPT, known=4))
    assert kept.checkpoint(SPOTS[0]) is Standing.REQUIRED
    assert _slots(kept) == {0: {b"a": Standing.REQUIRED}}
    assert kept.going() == []
    assert _standings(about(0, GOING), count=1) == ["GOING"]
    assert _standings(about(0, GOING), about(0, GONE, known=1), count=1) == ["DELETED"]


def test_a_replaced_write_stays_replaced_in_whatever_order_entries_arrive():
    replaced = wrote(0, b"a", -3, kind=Kind.REPLACED)
    for entries in ([wrote(0, b"a", -3), wrote(0, b"b", -3), replaced], [wrote(0, b"b", -3), replaced, wrote(0, b"a", -3)]):
        assert _slots(_ledger(*entries)) == {-3: {b"a": Standing.REPLACED, b"b": Standing.REQUIRED}}


def test_an_operator_takes_back_that_a_write_was_replaced():
    replaced = wrote(0, b"a", -3, kind=Kind.REPLACED)
    taken_back = [wrote(0, b"a", -3), wrote(0, b"b", -3), replaced, wrote(0, b"a", -3, known=OWN)]
    assert _slots(_ledger(*taken_back))[-3][b"a"] is Standing.REQUIRED
    assert _slots(_ledger(*taken_back, wrote(0, b"a", -3)))[-3][b"a"] is Standing.REQUIRED
    assert _slots(_ledger(*taken_back, replaced))[-3][b"a"] is Standing.REPLACED


# rule A-5
def test_what_is_known_of_a_checkpoint_are_deletions_of_its_thread_and_its_own():
    assert _ledger(about(0), wrote(0, b"a", 0)).known(SPOTS[0]) == 0
    ledger = _ledger(about(0), about(0, GOING), about(0, KEPT, known=2), about(1))
    assert [ledger.known(), *map(ledger.known, SPOTS[:2])] == [0, 3, 0]
    ledger = _ledger(about(0), about(0, GOING), about(0, KEPT, known=2), thread(), thread(KEPT, known=4))
    assert [ledger.known(), *map(ledger.known, SPOTS[:2])] == [5, 5, 5]
    ledger = _ledger(thread(), thread(KEPT, known=1), thread(), thread(GONE, known=3))
    assert (ledger.known(), ledger.is_open) == (4, False)


def test_if_entries_about_one_row_disagree_the_higher_one_counts():
    deleted = [thread(), thread(GONE, known=1)]
    for known in ((2, 0), (0, 2)):
        ledger = _ledger(
            *deleted, *(about(0, known=each) for each in known), *(wrote(0, b"a", 0, known=each) for each in known)
        )
        assert ledger.checkpoint(SPOTS[0]) is Standing.REQUIRED
        assert _slots(ledger) == {0: {b"a": Standing.REQUIRED}}

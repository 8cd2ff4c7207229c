"""What a process remembers of checkpoints that it opened or stored, so that the next manifest lists what is stored."""

from __future__ import annotations

import pytest

from encrypted_serde.core.binding import Place
from encrypted_serde.rows import listed as listed_module
from encrypted_serde.rows.listed import Listed, Remembered

HERE, ELSEWHERE = Place.of("thread", ""), Place.of("thread", "child")


def _noted(remembered, checkpoint_id, stored, version="1", manifest="es1.sealed", place=HERE):
    listed = remembered.listed(place, checkpoint_id, dict.fromkeys(stored, version), stored)
    remembered.note(listed, manifest)
    return listed


def _listed(remembered, versions, stored=None, place=HERE):
    found = remembered.listed(place, "next", versions, stored or {})
    return found.values, found.nones


def test_a_checkpoint_is_known_once_it_was_noted_and_by_its_manifest():
    remembered = Remembered()
    listed = remembered.listed(HERE, "c1", {"a": "1"}, {"a": True})
    assert not remembered.knows(HERE, "c1")
    remembered.note(listed, "es1.sealed")
    assert remembered.knows(HERE, "c1")
    assert remembered.knows(HERE, "c1", "es1.sealed")
    assert not remembered.knows(HERE, "c1", "es1.of another write")
    assert not remembered.knows(HERE, "c2")
    assert not remembered.knows(ELSEWHERE, "c1")


@pytest.mark.parametrize("manifest", [None, 5])
def test_a_checkpoint_whose_manifest_is_no_text_is_known_by_no_manifest(manifest):
    remembered = Remembered()
    _noted(remembered, "c1", {"a": True}, manifest=manifest)
    assert remembered.knows(HERE, "c1")
    assert not remembered.knows(HERE, "c1", "es1.sealed")


def test_a_channel_is_listed_as_an_earlier_checkpoint_lists_it_under_the_same_version():
    remembered = Remembered()
    _noted(remembered, "c1", {"value": True, "none": False, "not stored": None})
    same = dict.fromkeys(["value", "none", "not stored", "new"], "1")
    assert _listed(remembered, same) == (["value"], ["none"])
    assert _listed(remembered, dict.fromkeys(same, "2")) == ([], [])
    assert _listed(remembered, same, place=ELSEWHERE) == ([], [])
    assert _listed(remembered, same, {"value": None, "none": True, "new": False}) == (["none"], ["new"])


def test_versions_that_are_no_text_are_compared_as_they_are_sealed():
    remembered = Remembered()
    _noted(remembered, "c1", {"a": True}, version=2.0)
    assert _listed(remembered, {"a": 2}) == _listed(remembered, {"a": "2"}) == (["a"], [])
    assert _listed(remembered, {"a": 3}) == ([], [])


def test_what_was_noted_first_is_forgotten_first_and_a_checkpoint_before_its_channels(monkeypatch):
    monkeypatch.setattr(listed_module, "REMEMBERED", 3)
    remembered = Remembered()
    _noted(remembered, "c1", {"a": True})
    _noted(remembered, "c2", {"b": True})
    assert [remembered.knows(HERE, each) for each in ("c1", "c2")] == [False, True]
    assert _listed(remembered, {"a": "1", "b": "1"}) == (["a", "b"], [])
    _noted(remembered, "c3", {"a": True})  # noted again: it is the newest now
    assert [remembered.knows(HERE, each) for each in ("c1", "c2", "c3")] == [False, False, True]
    assert _listed(remembered, {"a": "1", "b": "1"}) == (["a", "b"], [])
    _noted(remembered, "c3", {"a": True})
    assert _listed(remembered, {"a": "1", "b": "1"}) == (["a", "b"], [])


def test_of_a_saver_that_stores_a_checkpoint_as_one_value_nothing_is_remembered():
    remembered = Remembered()
    listed = Listed.of({"a": 1, "n": None})
    assert listed == (["a"], ["n"], None, {})
    remembered.note(listed, "es1.sealed")
    assert _listed(remembered, {"a": "1", "n": "1"}) == ([], [])


def test_a_thread_is_forgotten_in_all_its_namespaces_and_no_other_thread():
    remembered, other = Remembered(), Place.of("thread 2", "")
    for place in (HERE, ELSEWHERE, other):
        _noted(remembered, "c1", {"a": True}, place=place)
    remembered.forget(["never seen"])
    assert all(remembered.knows(place, "c1") for place in (HERE, ELSEWHERE, other))
    remembered.forget(["thread"])
    assert [remembered.knows(place, "c1") for place in (HERE, ELSEWHERE, other)] == [False, False, True]
    assert [_listed(remembered, {"a": "1"}, place=place) for place in (HERE, other)] == [([], []), (["a"], [])]

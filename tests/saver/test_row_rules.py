"""The rules about a row by themselves: of a row without a manifest, and of one that is a single sealed value."""

from __future__ import annotations

import pytest

from encrypted_serde import Key, PlaintextRefused, Sealer, WrongLocation
from encrypted_serde.core import binding
from encrypted_serde.core.binding import Place
from encrypted_serde.core.format import sealed_text
from encrypted_serde.rows.listed import Listed
from encrypted_serde.rows.manifest import Manifest, digest
from encrypted_serde.rows.parts import Opened, Parts, find_manifest
from encrypted_serde.rows.stored import LEGACY, PLAINTEXT, SEALED, Form, Stored, find_part
from encrypted_serde.rows.verify import Rules, Verified, open_value, open_write, verify_row
from encrypted_serde.rows.write import MetadataKeys, Writer, readable_and_manifest

HERE = Place.of("thread", "")
DOCUMENT = {"id": "c1", "channel_values": {}, "channel_versions": {"a": "1"}}
SEALER = Sealer(Key.generate())
BOUND = find_part(SEALER.seal_bound("msgpack", b"\x01", binding.value(HERE, "a", "1")))
BOTH = {"admits": True, "admits_plaintext": True}


class _NoReader:
    def open(self, found, bind, *, is_proven=False):
        raise AssertionError("nothing is to be opened")


def _parts(**changed):
    parts = {"checkpoint_id": "c1", "parent_id": None, "document": DOCUMENT, "metadata": {"step": 1}, "values": {}, "apart": {}}
    return Parts(**{"place": HERE, "manifest": None, **parts, **changed})


def _verified(parts, **rules):
    return verify_row(parts, _NoReader(), Rules(**rules))


# rule T-12
def test_a_row_without_a_manifest_is_read_as_it_is_under_a_switch():
    parts = _parts(values={"a": find_part(1)})
    assert _verified(parts, **BOTH) == Verified(parts, None, Form(PLAINTEXT), DOCUMENT, {"step": 1})
    assert not _verified(parts, **BOTH).is_proven
    with pytest.raises(PlaintextRefused, match="no manifest"):
        _verified(parts, admits_plaintext=True)


# rule T-12
@pytest.mark.parametrize("where", ["values", "apart"])
@pytest.mark.parametrize("rules", [{}, BOTH, {**BOTH, "stores_all_values": False}])
def test_a_row_without_a_manifest_is_refused_beside_a_bound_value(where, rules):
    with pytest.raises(PlaintextRefused, match="sealed for it"):
        _verified(_parts(**{where: {"a": BOUND}}), **rules)


def test_a_row_without_a_manifest_is_the_one_that_it_says_it_is():
    with pytest.raises(WrongLocation):
        _verified(_parts(checkpoint_id="c2"), **BOTH)


def test_a_row_of_one_readable_value_needs_the_switch_for_plaintext():
    parts, sealed = _parts(), _parts(whole=Form(SEALED))
    with pytest.raises(PlaintextRefused, match="never encrypted"):
        _verified(parts, admits=True)
    for accepted, rules in ((sealed, {}), (parts, {"stores_all_values": False}), (parts, {"admits_plaintext": True})):
        assert _verified(accepted, admits=True, **rules).parts is accepted


def test_a_part_of_one_sealed_value_is_as_authentic_as_that():
    whole = Form(SEALED, "xaes-256-gcm", b"k" * 32)
    verified = _verified(_parts(whole=whole), admits=True)
    for value, opened in ((None, ("null", b"")), (5, ("msgpack", b"\x05"))):
        for in_row in (True, False):
            assert open_value(verified, "a", find_part(value), _NoReader(), in_row=in_row) == (*opened, whole, {}, False, "")
    assert open_value(verified, "a", BOUND._replace(is_delta=True), _NoReader(), in_row=True).is_delta


class _Asked:
    """A reader that says what it was asked."""

    def open(self, found, bind, *, is_proven=False):
        return found, bind(False), bind(True), is_proven


def test_a_value_is_opened_for_its_channel_and_version_and_held_to_the_proof_of_its_row():
    proven = Verified(_parts(), Manifest("c1", None, [], [], ("null", b""), digest(DOCUMENT, {})), Form(SEALED), DOCUMENT, {})
    for verified, in_row, is_proven in ((proven, True, True), (proven, False, False)):
        found = open_value(verified, "a", BOUND, _Asked(), in_row=in_row)
        assert found == (BOUND, binding.value(HERE, "a", "1"), binding.delta(HERE, "a", "1"), is_proven)
    unproven = _verified(_parts(), **BOTH)
    assert open_value(unproven, "b", BOUND, _Asked(), in_row=True)[1:] == (
        binding.value(HERE, "b"),
        binding.delta(HERE, "b"),
        False,
    )


@pytest.mark.parametrize("is_proven", [True, False])
def test_a_write_is_opened_alone_and_its_none_is_no_none_of_a_row(is_proven):
    def bind(is_delta):
        return is_delta

    assert open_write(BOUND, bind, _Asked(), is_proven=is_proven) == (BOUND, False, True, is_proven)
    plain = open_write(find_part(None), bind, _Asked(), is_proven=is_proven)[0]
    assert plain == (Form(PLAINTEXT), "null", b"", None, False, None)
    with pytest.raises(PlaintextRefused):
        open_write(BOUND._replace(is_delta=True), bind, _Asked(), is_proven=is_proven)


def test_metadata_are_written_with_tokens_of_what_is_searchable_and_a_manifest_of_all_of_it():
    writer = Writer(
        MetadataKeys({"area"}, {"user", "step", "absent", "list"}),
        lambda name, value: f"token of {name}: {value}",
        lambda private: ("msgpack", repr(private).encode()),
    )
    metadata = {"step": 1, "area": "eu", "user": "u", "list": [1], "note": "n"}
    listed = Listed(["a"], ["b"])
    readable, packed = readable_and_manifest("c0", listed, DOCUMENT, metadata, writer)
    assert readable == {"step": 1, "area": "eu", "user": "token of user: u"}
    private = repr({"user": "u", "list": [1], "note": "n"}).encode()
    manifest = Manifest("c1", "c0", ["a"], ["b"], ("msgpack", private), digest(DOCUMENT, readable))
    assert Manifest.unpack(packed) == manifest


class _Opens:
    """A reader that opens one manifest, which it is asked for in its place."""

    def __init__(self, manifest):
        self._manifest = manifest

    def open(self, found, bind, *, is_proven=False):
        assert (bind(False), bind(True), is_proven) == (binding.manifest(HERE, "c1"),) * 2 + (True,)
        return Opened("bytes", self._manifest.pack(), found.form)


def _proven(*, document=DOCUMENT, values=(), **changed):
    """A row with a manifest that lists channel ``a``, and some more values."""
    digested = digest(document, {"step": 1})
    parts = _parts(document=document, manifest=BOUND, **{"apart": {"a": BOUND}, "values": dict(values), **changed})
    return parts, _Opens(Manifest("c1", None, ["a"], [], ("null", b""), digested))


def test_a_channel_is_none_where_its_value_is_found_and_savers_prefer_values_in_rows_of_their_own():
    none, value = find_part(None), find_part(1)
    parts = _parts(values={"n": none, "v": value, "both": none}, apart={"both": value, "apart": none})
    assert parts.names() == ({"v", "both"}, ["n", "apart"])
    assert parts._replace(known_nones=["v"]).names() == ({"n", "both", "apart"}, ["v"])
    sealed = Stored(Form(LEGACY), "null+aes", b"")
    assert _parts(values={"n": sealed, "v": sealed._replace(type_tag="nullable+aes")}).names() == ({"v"}, ["n"])


BY_VERSION = Rules(stores_all_values=False)
LOST = {**DOCUMENT, "channel_versions": {"a": "1", "lost": "2"}}


def test_a_row_with_a_manifest_is_verified_in_the_form_of_its_manifest():
    parts, reader = _proven()
    verified = verify_row(parts, reader, Rules())
    assert verified[:3] == (parts, reader._manifest, BOUND.form)
    assert (verified.document, verified.readable) == ({"id": "c1", "channel_versions": {"a": "1"}}, {"step": 1})
    assert verified.is_proven


def test_a_channel_that_is_not_listed_is_held_to_its_sealed_version():
    parts, reader = _proven(document=LOST, apart={"a": BOUND, "lost": BOUND})
    assert verify_row(parts, reader, BY_VERSION).parts is parts
    with pytest.raises(WrongLocation, match="had no value"):
        verify_row(parts, reader, Rules())
    for changed in (
        {"document": LOST, "apart": {"a": BOUND, "lost": find_part(5)}},  # not sealed
        {"document": DOCUMENT, "apart": {"a": BOUND, "lost": BOUND}},  # no version names it
        {"document": LOST, "values": {"lost": BOUND}},  # in the row, where every value is listed
    ):
        parts, reader = _proven(**changed)
        with pytest.raises(WrongLocation, match="had no value"):
            verify_row(parts, reader, BY_VERSION)


def test_a_sealed_row_has_no_pending_sends_but_where_a_saver_gathers_them():
    parts, reader = _proven(document={**DOCUMENT, "pending_sends": ["made up"]})
    with pytest.raises(WrongLocation, match="pending sends"):
        verify_row(parts, reader, Rules())
    assert "pending_sends" not in verify_row(parts, reader, Rules(gathers_sends=True)).document


def test_a_manifest_is_sealed_text_and_nothing_else():
    sealed = SEALER.seal_bound("bytes", b"", binding.manifest(HERE, "c1"))
    for stored in (None, 5, "", "text", "es1.", sealed, [sealed_text(sealed)]):
        assert find_manifest({"es1": stored}) is None
    assert find_manifest({}) is None
    for stored in (sealed_text(sealed), sealed_text(sealed)[:60]):
        found = find_manifest({"es1": stored})
        assert found is not None
        assert find_manifest({"es1": found}) is found


def test_the_text_of_a_row_and_of_its_values_shows_nothing():
    parts, reader = _proven()
    verified = verify_row(parts, reader, Rules())
    shown = [repr(each) for each in (parts, BOUND, verified, verified.manifest, Opened("bytes", b"secret", BOUND.form))]
    assert shown == ["<Parts>", "<Stored>", "<Verified>", "<Manifest of 'c1'>", "<Opened>"]

"""No two places share a location, and a reader that knows less asks for less."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encrypted_serde import AuthenticationFailed, ConfigurationError, Key, MalformedEnvelope, WrongLocation
from encrypted_serde.core import binding
from encrypted_serde.core.binding import Binding, Place, WriteClaims, WriteMaker
from encrypted_serde.core.claims import decode_claims, encode_claims, task_claims
from encrypted_serde.core.sealer import Sealer

NAMES = ("a", "b", "ab", "", "value", "write", "__pregel_tasks")
PLACES = [Place.of(thread, ns) for thread, ns in product(NAMES[:4], NAMES[:4])]


def _every_place() -> dict[tuple[object, ...], bytes]:
    """Locations of all makers, for names that would collide if a length or a surface were left out."""
    found: dict[tuple[object, ...], bytes] = {}
    for place, name in product(PLACES, NAMES):
        where = (place.thread_id, place.checkpoint_ns, name)
        found[("value", *where)] = binding.value(place, name).location
        found[("delta", *where)] = binding.delta(place, name).location
        found[("write", *where)] = binding.write(place, name, WriteClaims()).location
        found[("manifest", *where)] = binding.manifest(place, name).location
    for labels in [(), *((one,) for one in NAMES), *product(NAMES[:4], NAMES[:4]), *product(NAMES[:3], NAMES[:3], NAMES[:3])]:
        for name in NAMES:
            found["item", labels, name] = binding.item(labels, name).location
            found["entry", labels, name] = binding.entry(labels, name).location
    for name in NAMES:
        found["json", name] = binding.json_value(name).location
    found["blob",], found["context",] = binding.BLOB.location, binding.CONTEXT.location
    return found


def test_no_two_places_of_any_maker_share_a_location():
    found = _every_place()
    assert len(found) > 700
    by_location: dict[bytes, object] = {}
    for where, location in found.items():
        assert location
        assert by_location.setdefault(location, where) is where


def test_no_location_is_the_beginning_of_another_with_the_same_number_of_fields():
    found = [location for (maker, *_), location in _every_place().items() if maker in ("value", "manifest", "write")]
    for one, other in combinations(found[:200], 2):
        assert not other.startswith(one)
        assert not one.startswith(other)


def test_a_value_opens_in_no_place_of_another_maker():
    sealer, place = Sealer(Key.generate()), Place.of("t", "")
    makers = {
        "value": binding.value(place, "x"),
        "delta": binding.delta(place, "x"),
        "write": Binding(binding.write(place, "x", WriteClaims()).location),
        "manifest": binding.manifest(place, "x"),
        "item": binding.item(("t", ""), "x"),
        "entry": binding.entry(("t", ""), "x"),
        "json": binding.json_value("x"),
        "blob": binding.BLOB,
        "context": binding.CONTEXT,
    }
    for written, found in product(makers, makers):
        sealed = sealer.seal_bound("bytes", b"1", makers[written])
        if written == found:
            assert sealer.open_bound(sealed, makers[found]).plaintext == b"1"
        else:
            with pytest.raises(AuthenticationFailed):
                sealer.open_bound(sealed, makers[found])


# --- claims


CLAIMS = WriteClaims("task", "c1", "~path", 3, "0123456789abcdef", 2, 1)
SPECIAL = WriteClaims("task", "c1", "~path", -3, alone="0123456789abcdef")


@pytest.mark.parametrize("known", [WriteClaims(), WriteClaims("task"), WriteClaims(checkpoint_id="c1"), CLAIMS])
def test_a_reader_asks_for_what_it_knows(known):
    sealer, place = Sealer(Key.generate()), Place.of("t", "")
    sealed = sealer.seal_bound("bytes", b"1", binding.write(place, "x", CLAIMS))
    opened = sealer.open_bound(sealed, binding.write(place, "x", known))
    assert WriteClaims.read(opened.claims) == CLAIMS


@pytest.mark.parametrize("field", WriteClaims._fields)
def test_a_reader_that_knows_otherwise_refuses(field):
    sealer, place = Sealer(Key.generate()), Place.of("t", "")
    other = binding.write(place, "x", WriteClaims(**{field: "other"}))
    for claims in (CLAIMS, SPECIAL):
        sealed = sealer.seal_bound("bytes", b"1", binding.write(place, "x", claims))
        with pytest.raises(WrongLocation, match=field):
            sealer.open_bound(sealed, other)


def test_a_value_without_a_version_is_none_of_a_channel_that_has_one():
    sealer, place = Sealer(Key.generate()), Place.of("t", "")
    sealed = sealer.seal_bound("bytes", b"1", binding.value(place, "x"))
    with pytest.raises(WrongLocation, match="version"):
        sealer.open_bound(sealed, binding.value(place, "x", 1))


@pytest.mark.parametrize(
    ("one", "other", "same"), [(1, 1.0, True), ("1", 1, True), (1.5, 1, False), (True, 1, False), ("1.0", 1, False)]
)
def test_a_version_is_its_text(one, other, same):
    place = Place.of("t", "")
    assert (binding.value(place, "x", one).claims == binding.value(place, "x", other).claims) is same


@pytest.mark.parametrize("version", [1, "1", "a" * 500, 2.0, "é"])
def test_claims_are_encoded_as_the_writer_encodes_them(version):
    place = Place.of("t", "")
    for made in (
        binding.value(place, "x", version),
        binding.delta(place, "x", version),
        binding.write(place, "x", CLAIMS),
        binding.write(place, "x", SPECIAL),
    ):
        assert made.encoded == encode_claims(made.claims)
        assert decode_claims(made.encoded) == made.claims


@pytest.mark.parametrize("text", ["\ud800", "x" * 65536])
def test_names_that_cannot_be_encoded_are_a_configuration_error(text):
    sealer, place = Sealer(Key.generate()), Place.of("t", "")
    for make in (
        lambda: Place.of(text, ""),
        lambda: Place.of("t", text),
        lambda: binding.value(place, text),
        lambda: sealer.seal_bound("bytes", b"", binding.value(place, "x", text)),
        lambda: sealer.seal_bound("bytes", b"", binding.write(place, "x", CLAIMS._replace(task_id=text))),
        lambda: sealer.seal_bound("bytes", b"", binding.write(place, "x", CLAIMS._replace(task_path=text))),
        lambda: binding.manifest(place, text),
        lambda: binding.item((text,), "k"),
        lambda: binding.entry(("n",), text),
        lambda: binding.json_value(text),
    ):
        with pytest.raises(ConfigurationError):
            make()


def test_a_namespace_of_none_is_the_root_and_a_thread_is_its_text():
    assert Place.of(5, None) == Place.of("5", "")


@pytest.mark.parametrize("claims", [{}, {"version": "1"}, {"checkpoint_id": "c1", "idx": 0, "size": 2}])
def test_claims_that_are_not_those_of_a_write_are_malformed(claims):
    with pytest.raises(MalformedEnvelope):
        WriteClaims.read(claims)


# rule F-12
@pytest.mark.parametrize(
    "wrong",
    [
        {"idx": -1}, {"idx": 1 << 32}, {"size": -1}, {"of": 1 << 40}, {"batch": "0" * 15}, {"batch": "g" * 16},
        {"batch": "F" * 16}, {"batch": "0" * 16 + "\n"}, {"alone": "0" * 16},
    ],
)  # fmt: skip
def test_a_claim_that_cannot_be_encoded_is_a_configuration_error(wrong):
    with pytest.raises(ConfigurationError):
        Sealer(Key.generate()).seal_bound("bytes", b"", binding.write(Place.of("t", ""), "x", CLAIMS._replace(**wrong)))


@given(
    st.builds(
        WriteClaims,
        st.text(st.characters(exclude_categories=["Cs"])) | st.uuids().map(str),
        st.text(st.characters(exclude_categories=["Cs"])) | st.uuids().map(lambda uuid: str(uuid).upper()),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers(0, (1 << 32) - 1),
        st.binary(min_size=8, max_size=8).map(bytes.hex),
        st.integers(0, (1 << 32) - 1),
        st.integers(0, 300),
        st.none(),
    )
)
def test_claims_come_back_as_they_were(claims):
    assert WriteClaims.read(decode_claims(encode_claims(claims.known()))) == claims
    special = claims._replace(batch=None, size=None, of=None, alone=claims.batch, idx=-claims.idx - 1)
    if claims.idx < (1 << 32) - 1:
        assert WriteClaims.read(decode_claims(encode_claims(special.known()))) == special


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"\2\2t\2c\0" + bytes(8) + rest))
def test_claims_that_are_read_are_the_only_encoding_of_what_they_say(data):
    try:
        claims = decode_claims(data)
    except MalformedEnvelope:
        return
    assert encode_claims(claims) == data


def test_the_writes_of_a_call_are_bound_as_each_by_itself():
    place, task = Place.of("t", "ns"), task_claims("task", "c1", "~path", "0123456789abcdef")
    maker = WriteMaker(place, task, 2)
    for made, alone in (
        (maker.ordinary("x", 3, 1), binding.write(place, "x", CLAIMS)),
        (maker.special("x", -3), binding.write(place, "x", SPECIAL)),
    ):
        assert (made.location, made.encoded, made.claims) == (alone.location, alone.encoded, alone.claims)


def test_a_binding_without_claims_encodes_none():
    assert Binding(b"x").encoded == b""

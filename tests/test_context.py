"""The encryption context: its limits, which block counts, and where it is seen."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from encrypted_serde import ConfigurationError, MalformedEnvelope, encryption_context
from encrypted_serde.core.context import EncryptionContext, acting, current, parse_context
from encrypted_serde.core.encoding import encode_pairs


def _pairs():
    context = current.get()
    return None if context is None else dict(context.pairs)


def test_outside_any_block_there_is_no_context_and_inside_it_is_the_one_given():
    assert _pairs() is None
    with encryption_context(tenant_id="acme"):
        assert _pairs() == {"tenant_id": "acme"}
    assert _pairs() is None


def test_names_that_are_no_identifiers_are_given_as_a_mapping():
    with encryption_context({"tenant.id": "acme"}, region="eu"):
        assert _pairs() == {"tenant.id": "acme", "region": "eu"}


def test_the_innermost_block_counts_whole_and_nothing_is_merged():
    with encryption_context(tenant_id="acme", region="eu"):
        with encryption_context(tenant_id="umbrella"):
            assert _pairs() == {"tenant_id": "umbrella"}
        assert _pairs() == {"tenant_id": "acme", "region": "eu"}


def test_an_empty_block_means_no_context_which_is_not_the_same_as_no_block():
    with encryption_context(tenant_id="acme"), encryption_context():
        assert _pairs() == {}


def test_an_error_in_the_block_restores_the_outer_context():
    with encryption_context(tenant_id="acme"):
        with pytest.raises(ZeroDivisionError), encryption_context(tenant_id="umbrella"):
            raise ZeroDivisionError
        assert _pairs() == {"tenant_id": "acme"}


async def test_each_asyncio_task_sees_its_own_context():
    barrier = asyncio.Event()

    async def task(tenant):
        with encryption_context(tenant_id=tenant):
            await barrier.wait()
            return await asyncio.to_thread(_pairs), _pairs()

    tasks = [asyncio.create_task(task(f"t{number}")) for number in range(20)]
    await asyncio.sleep(0)
    barrier.set()
    for number, seen in enumerate(await asyncio.gather(*tasks)):
        assert seen == ({"tenant_id": f"t{number}"},) * 2


def test_a_thread_sees_the_context_of_whoever_copied_it_there_and_no_other():
    seen = []
    with encryption_context(tenant_id="acme"):
        copied = contextvars.copy_context()
    for run in (lambda: seen.append(_pairs()), lambda: copied.run(lambda: seen.append(_pairs()))):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert seen == [None, {"tenant_id": "acme"}]


def _in_a_context_of_its_own(function):
    return contextvars.copy_context().run(function)


def test_a_block_that_is_left_in_another_context_than_it_was_entered_in_is_an_error_that_names_the_cause():
    block = encryption_context(tenant_id="acme")
    _in_a_context_of_its_own(block.__enter__)  # what FastAPI does with a sync dependency that yields
    assert _pairs() is None
    with pytest.raises(ConfigurationError, match="FastAPI dependency"):
        _in_a_context_of_its_own(lambda: block.__exit__(None, None, None))


def test_a_block_that_is_left_elsewhere_never_hides_the_error_of_what_ran_in_it():
    block = encryption_context(tenant_id="acme")
    _in_a_context_of_its_own(block.__enter__)
    error = ZeroDivisionError()
    assert not _in_a_context_of_its_own(lambda: block.__exit__(type(error), error, None))


def test_the_actor_is_that_of_the_innermost_block_that_names_one():
    with encryption_context(tenant_id="acme", actor="alice"):
        with encryption_context(tenant_id="umbrella"):
            assert acting.get() == "alice"
        with encryption_context(actor="bob"):
            assert acting.get() == "bob"
        assert acting.get() == "alice"
    assert acting.get() is None


def test_the_actor_is_no_part_of_the_context():
    with encryption_context(tenant_id="acme", actor="alice"):
        assert _pairs() == {"tenant_id": "acme"}
    with encryption_context({"actor": "a name like any other"}):
        assert (_pairs(), acting.get()) == ({"actor": "a name like any other"}, None)


@pytest.mark.parametrize(
    ("actor", "error"), [(7, TypeError), (b"a", TypeError), ("", ConfigurationError), ("x" * 1025, ConfigurationError)]
)
def test_an_actor_that_is_none_is_refused_before_the_block_is_entered(actor, error):
    with pytest.raises(error), encryption_context(tenant_id="acme", actor=actor):
        pytest.fail("the block was entered")
    assert current.get() is None


@pytest.mark.parametrize("pairs", [{"a": 1}, {"a": None}, {"a": b"x"}, {1: "x"}, {"a": True}])
def test_names_and_values_are_str_and_never_converted(pairs):
    with pytest.raises(TypeError), encryption_context(pairs):
        pass


def test_something_that_is_no_mapping_is_a_type_error():
    with pytest.raises(TypeError):
        EncryptionContext.of([("a", "b")])


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param({f"n{number}": "v" for number in range(17)}, id="17 pairs"),
        pytest.param({"a": ""}, id="empty value"),
        pytest.param({"a": "x" * 1025}, id="value of 1025 bytes"),
        pytest.param({"a": "ä" * 513}, id="513 characters of 2 bytes"),
        pytest.param({"": "x"}, id="empty name"),
        pytest.param({"a" * 65: "x"}, id="name of 65 characters"),
        pytest.param({"Tenant": "x"}, id="upper case name"),
        pytest.param({"1a": "x"}, id="name that begins with a digit"),
        pytest.param({"a b": "x"}, id="name with a space"),
        pytest.param({"a\n": "x"}, id="name with a newline"),
        pytest.param({"ä": "x"}, id="name that is not ASCII"),
        pytest.param({"a": "x\0"}, id="NUL in a value"),
        pytest.param({"a": "\ud800"}, id="lone surrogate"),
    ],
)
def test_a_context_out_of_bounds_is_a_configuration_error_before_the_block_is_entered(pairs):
    with pytest.raises(ConfigurationError), encryption_context(pairs):
        pytest.fail("the block was entered")
    assert current.get() is None


def test_a_context_at_every_limit_is_accepted():
    pairs = {f"n{number:063}": "x" * 1024 for number in range(16)}
    assert parse_context(EncryptionContext.of(pairs).encoded).pairs == pairs


def test_a_name_given_twice_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="tenant_id"), encryption_context({"tenant_id": "a"}, tenant_id="a"):
        pass


def test_a_context_cannot_be_changed_through_the_mapping_it_was_made_from():
    given = {"tenant_id": "acme"}
    context = EncryptionContext.of(given)
    given["tenant_id"] = "umbrella"
    assert context.pairs["tenant_id"] == "acme"
    with pytest.raises(TypeError):
        context.pairs["tenant_id"] = "umbrella"


def test_repr_shows_names_and_no_values():
    assert repr(EncryptionContext.of({"tenant_id": "acme-9183"})) == "EncryptionContext(tenant_id)"


@pytest.mark.parametrize("pairs", [{"Tenant": "x"}, {"a": ""}, {"a": "x" * 1025}, {f"n{i:02}": "v" for i in range(17)}])
def test_a_stored_context_that_exceeds_a_limit_is_malformed(pairs):
    with pytest.raises(MalformedEnvelope):
        parse_context(encode_pairs(pairs))

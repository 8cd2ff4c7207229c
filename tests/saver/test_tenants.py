"""A saver keeps tenants apart on every way in and out: reads, lists, copies, values from before the wrapper."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from encrypted_serde import (
    AuthenticationFailed,
    ConfigurationError,
    EncryptedSaver,
    EncryptedSerializer,
    Sealer,
    WrongContext,
    encryption_context,
)
from tests.saver.threads import make_checkpoint
from tests.savers import ALL_SAVERS, any_saver

ACME, GLOBEX = {"tenant_id": "acme"}, {"tenant_id": "globex"}


class CopyingSaver(InMemorySaver):
    def copy_thread(self, source_thread_id, target_thread_id):
        raise AssertionError("rows are copied one by one, and never as they are")


def _config(thread, **more):
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


def _put(saver, thread, step=1, value="globex's"):
    return saver.put(
        _config(thread), make_checkpoint(step, {"a": [value]}, {"a": 1}), {"source": "loop", "step": step}, {"a": 1}
    )


@pytest.fixture
def globex(key):
    """A store in which globex has a thread."""
    inner = CopyingSaver()
    _put(EncryptedSaver(inner, key, context=GLOBEX), "globex-1")
    return inner


def test_another_tenants_thread_is_not_copied(globex, key):
    acme = EncryptedSaver(globex, key, context=ACME)
    with pytest.raises(WrongContext):
        acme.copy_thread("globex-1", "mine")
    with encryption_context(ACME), pytest.raises(WrongContext):
        EncryptedSaver(globex, key).copy_thread("globex-1", "mine")
    assert globex.storage.get("mine") in (None, {})


def test_a_copy_keeps_the_context_that_each_row_had(globex, key):
    EncryptedSaver(globex, key).copy_thread("globex-1", "copy")
    with encryption_context(GLOBEX):
        assert EncryptedSaver(globex, key).get_tuple(_config("copy")).checkpoint["channel_values"] == {"a": ["globex's"]}
    with encryption_context(ACME), pytest.raises(WrongContext):
        EncryptedSaver(globex, key).get_tuple(_config("copy"))


def test_a_copy_with_a_context_function_needs_an_ambient_context(globex, key):
    saver = EncryptedSaver(globex, key, context=lambda config: {"tenant_id": config["configurable"]["tenant_id"]})
    with pytest.raises(ConfigurationError, match="encryption_context"):
        saver.copy_thread("globex-1", "copy")


@pytest.fixture
def unbound(key):
    """A store in which globex has a thread from before the wrapper."""
    inner = InMemorySaver(serde=EncryptedSerializer(key))
    with encryption_context(GLOBEX):
        _put(inner, "globex-1")
    return inner


_READS = {
    "get_tuple": lambda saver: saver.get_tuple(_config("globex-1")),
    "list": lambda saver: list(saver.list(_config("globex-1"))),
    "list with limit": lambda saver: list(saver.list(_config("globex-1"), limit=1)),
    "aget_tuple": lambda saver: asyncio.run(saver.aget_tuple(_config("globex-1"))),
    "alist": lambda saver: asyncio.run(_collect(saver)),
}


async def _collect(saver):
    return [found async for found in saver.alist(_config("globex-1"))]


@pytest.mark.parametrize("read", _READS.values(), ids=_READS)
def test_the_context_option_holds_for_values_from_before_the_wrapper(unbound, key, read):
    with pytest.raises(WrongContext):
        read(EncryptedSaver(unbound, key, allow_unbound=True, context=ACME))
    with encryption_context(ACME):  # the option counts, not what is around
        assert read(EncryptedSaver(unbound, key, allow_unbound=True, context=GLOBEX))


def test_a_list_expects_the_context_of_its_call_and_not_of_its_consumer(globex, key):
    saver = EncryptedSaver(globex, key)
    with encryption_context(ACME):
        rows = saver.list(_config("globex-1"))
        async_rows = saver.alist(_config("globex-1"))

    async def first():
        async with contextlib.aclosing(async_rows):
            return await anext(async_rows)

    with pytest.raises(WrongContext):
        next(rows)
    with pytest.raises(WrongContext):
        asyncio.run(first())


def test_a_list_of_all_threads_with_a_context_function_needs_an_ambient_context(globex, key):
    saver = EncryptedSaver(globex, key, context=lambda config: {"tenant_id": config["configurable"]["tenant_id"]})
    with pytest.raises(ConfigurationError, match="encryption_context"):
        saver.list(None)
    with encryption_context(GLOBEX):
        assert len(list(saver.list(None))) == 1
    with encryption_context(ACME):
        assert list(saver.list(None)) == []


async def _aput(saver, thread, step):
    checkpoint = make_checkpoint(step, {"a": [step]}, {"a": 1})
    arguments = _config(thread), checkpoint, {"source": "loop", "step": step}, {"a": 1}
    if isinstance(saver.inner, (AsyncSqliteSaver, AsyncPostgresSaver)):
        await saver.aput(*arguments)
    else:
        saver.put(*arguments)


async def _listed(saver, config, **options):
    if isinstance(saver.inner, (AsyncSqliteSaver, AsyncPostgresSaver)):
        async for row in saver.alist(config, **options):
            yield row
    else:
        for row in saver.list(config, **options):
            yield row


@pytest.mark.parametrize("kind", ALL_SAVERS)
async def test_a_list_of_all_threads_passes_over_those_of_others(kind, saver_place, key):
    async with any_saver(kind, saver_place(kind), None) as inner:
        for number in range(4):
            tenant = (ACME, GLOBEX)[number % 2]
            saver = EncryptedSaver(inner, key, context=tenant)
            await _aput(saver, f"thread-{number}", number + 1)
        acme = EncryptedSaver(inner, key, context=ACME)
        found = [row async for row in _listed(acme, None)]
        assert sorted(row.config["configurable"]["thread_id"] for row in found) == ["thread-0", "thread-2"]
        assert len([row async for row in _listed(acme, None, limit=2)]) == 2
        assert len([row async for row in _listed(acme, None, limit=1)]) == 1
        assert len([row async for row in _listed(acme, None, filter={"step": 3})]) == 1
        assert [row async for row in _listed(acme, None, filter={"step": 2})] == []
        assert len([row async for row in _listed(EncryptedSaver(inner, key), None)]) == 4
        everybody = EncryptedSaver(inner, Sealer(key, accept_contexts=[GLOBEX]), context=ACME)
        assert len([row async for row in _listed(everybody, None)]) == 4
        with pytest.raises(WrongContext):  # in one thread nobody expects such a row
            [row async for row in _listed(acme, _config("thread-1"))]


def test_the_header_of_a_row_does_not_make_it_anothers_where_it_does_not_open(globex, key):
    """What a list passes over is what its owner would be given; a row that was changed otherwise is refused."""
    acme = EncryptedSaver(globex, key, context=ACME)
    _put(acme, "acme-1")
    rows = globex.storage["acme-1"][""]
    (checkpoint_id,) = rows
    checkpoint, (tag, metadata), parent = rows[checkpoint_id]
    at = metadata.index(b"es1.") + 200  # inside the ciphertext of the manifest
    changed = metadata[:at] + (b"A" if metadata[at : at + 1] != b"A" else b"B") + metadata[at + 1 :]
    rows[checkpoint_id] = (checkpoint, (tag, changed), parent)
    with pytest.raises(AuthenticationFailed):
        list(acme.list(None))


@pytest.mark.parametrize("read", _READS.values(), ids=_READS)
def test_with_require_context_to_read_nothing_is_read_where_no_context_is_set(globex, key, read):
    saver = EncryptedSaver(globex, key, require_context_to_read=True)
    with pytest.raises(WrongContext, match="require_context_to_read"):
        read(saver)
    with encryption_context(GLOBEX):
        assert read(saver)
    with encryption_context(), pytest.raises(WrongContext):
        read(saver)
    assert read(EncryptedSaver(globex, key, require_context_to_read=True, context=GLOBEX))
    assert read(EncryptedSaver(globex, key))


def test_a_list_of_all_threads_is_refused_as_well(globex, key):
    with pytest.raises(WrongContext, match="require_context_to_read"):
        list(EncryptedSaver(globex, key, require_context_to_read=True).list(None))


def test_a_serializer_requires_a_context_to_read_too(key):
    serde = EncryptedSerializer(key, require_context_to_read=True)
    with encryption_context(ACME):
        stored = serde.dumps_typed({"a": 1})
        assert serde.loads_typed(stored) == {"a": 1}
    with pytest.raises(WrongContext, match="require_context_to_read"):
        serde.loads_typed(stored)
    nobodys = serde.dumps_typed({"b": 1})
    with pytest.raises(WrongContext, match="require_context_to_read"):
        serde.loads_typed(nobodys)
    with encryption_context():
        assert serde.loads_typed(nobodys) == {"b": 1}


def test_an_error_says_which_names_differ_and_no_value(globex, key):
    for expected, said in (
        (ACME, r"what differs: tenant_id \(another value\) \(thread"),
        ({}, r"what differs: tenant_id \(not expected\) \(thread"),
        ({**GLOBEX, "user": "u1"}, r"what differs: user \(it has none\) \(thread"),
    ):
        with pytest.raises(WrongContext, match=said) as caught:
            EncryptedSaver(globex, key, context=expected).get_tuple(_config("globex-1"))
        reason = str(caught.value).partition(" (thread")[0]
        assert "acme" not in reason
        assert "globex" not in reason


def test_a_context_that_lacks_a_name_is_told_what_it_lacks_and_what_it_has(key):
    saver = EncryptedSaver(InMemorySaver(), key, required_context=["tenant_id"])
    with pytest.raises(
        ConfigurationError, match=r"lacks tenant_id .* has nothing; wrap .*encryption_context\(tenant_id=\.\.\.\)"
    ):
        _put(saver, "t")
    with encryption_context(tenant="acme"), pytest.raises(ConfigurationError, match=r"lacks tenant_id .* has tenant;"):
        _put(saver, "t")

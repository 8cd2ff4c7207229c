"""A saver keeps tenants apart on every way in and out: reads, lists, copies, values from before the wrapper."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from encrypted_serde import (
    ConfigurationError,
    EncryptedSaver,
    EncryptedSerializer,
    WrongContext,
    encryption_context,
)
from tests.saver.threads import make_checkpoint

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
    with encryption_context(ACME), pytest.raises(WrongContext):
        list(saver.list(None))

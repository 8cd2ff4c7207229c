"""Both drivers do the same steps, and let go of the saver however a list ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from encrypted_serde import encryption_context
from encrypted_serde.core.context import EncryptionContext, current
from encrypted_serde.saver.steps import Call, Page, Stream, list_call
from encrypted_serde.wrapping import steps as drivers
from encrypted_serde.wrapping.steps import Give, Work
from encrypted_serde.wrapping.steps import astream as arun
from encrypted_serde.wrapping.steps import stream as run


class _Saver:
    """Lists three rows, and notes when a list is closed and under which context it was read."""

    def __init__(self, fails_at=None):
        self.closed, self.contexts, self.fails_at = 0, [], fails_at

    def _row(self, number):
        if number == self.fails_at:
            raise OSError("lost")
        self.contexts.append(current.get())
        return number

    def list(self, config, *, filter, before, limit):  # noqa: A002
        try:
            for number in range(3):
                yield self._row(number)
        finally:
            self.closed += 1

    async def alist(self, config, *, filter, before, limit):  # noqa: A002
        try:
            for number in range(3):
                await asyncio.sleep(0)
                yield self._row(number)
        finally:
            self.closed += 1

    def ask(self, *arguments, **named):
        return arguments, named, threading.current_thread()

    async def aask(self, *arguments, **named):
        return arguments, named, threading.current_thread()


def _streaming(saver, context=None):
    stream = Stream(list_call(saver, None, context))
    while rows := (yield stream):
        yield Give(rows[0])


def _paging(saver, context=None):
    for row in (yield Page(list_call(saver, None, context))):
        yield Give(row)


def _drive(steps):
    return list(run(steps))


def _drive_async(steps):
    async def collect():
        return [value async for value in arun(steps)]

    return asyncio.run(collect())


both = pytest.mark.parametrize("drive", [_drive, _drive_async])
lists = pytest.mark.parametrize("listing", [_streaming, _paging])


@both
@lists
def test_all_rows_come_and_the_list_is_closed(drive, listing):
    saver = _Saver()
    assert drive(listing(saver)) == [0, 1, 2]
    assert saver.closed == 1


@both
@lists
def test_an_error_of_the_saver_closes_the_list_and_is_raised(drive, listing):
    saver = _Saver(fails_at=1)
    with pytest.raises(OSError, match="lost"):
        drive(listing(saver))
    assert saver.closed == 1


@both
def test_an_error_of_a_step_closes_the_stream(drive):
    saver = _Saver()

    def steps():
        yield Stream(list_call(saver, None, None))
        yield Work(lambda: 1 / 0, is_heavy=False)

    with pytest.raises(ZeroDivisionError):
        drive(steps())
    assert saver.closed == 1


def test_a_list_that_is_left_early_is_closed():
    saver = _Saver()
    rows = run(_streaming(saver))
    assert next(rows) == 0
    rows.close()
    assert saver.closed == 1


async def test_an_asynchronous_list_that_is_left_early_is_closed():
    saver = _Saver()
    rows = arun(_streaming(saver))
    assert await anext(rows) == 0
    await rows.aclose()
    assert saver.closed == 1


async def test_a_list_whose_task_is_cancelled_while_it_waits_for_a_row_is_closed():
    waiting = asyncio.Event()

    class Slow(_Saver):
        async def alist(self, config, *, filter, before, limit):  # noqa: A002
            try:
                waiting.set()
                await asyncio.Event().wait()
                yield 0
            finally:
                self.closed += 1

    async def read(saver):
        return [row async for row in arun(_streaming(saver))]

    saver = Slow()
    task = asyncio.create_task(read(saver))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert saver.closed == 1


def test_nothing_is_asked_before_the_first_row_is_wanted():
    asked = []

    def steps():
        asked.append(1)
        yield Give(1)

    rows = run(steps())
    assert not asked
    assert list(rows) == [1]


@both
@lists
def test_rows_are_read_under_the_context_of_the_query(drive, listing):
    saver, context = _Saver(), EncryptionContext.of({"tenant_id": "a"})
    with encryption_context(tenant_id="b"):
        drive(listing(saver, context))
    assert [each.encoded for each in saver.contexts] == [context.encoded] * 3


def test_between_two_rows_the_context_is_the_callers():
    for _ in run(_streaming(_Saver(), EncryptionContext.of({"tenant_id": "a"}))):
        assert current.get() is None


@both
def test_a_call_gives_its_answer_back_to_the_steps(drive):
    def steps():
        arguments, named, _ = yield Call(_Saver(), "ask", (1, 2), None, {"x": 3})
        yield Give((arguments, named))

    assert drive(steps()) == [((1, 2), {"x": 3})]


async def test_heavy_work_and_only_that_is_done_in_a_thread():
    def steps():
        for is_heavy in (True, False):
            yield Give((yield Work(threading.current_thread, is_heavy)))

    heavy, light = [thread async for thread in arun(steps())]
    assert heavy is not threading.main_thread()
    assert light is threading.main_thread()
    assert list(run(steps())) == [threading.main_thread()] * 2


async def test_what_is_given_is_passed_over_where_only_the_result_is_wanted():
    def steps():
        yield Give(1)
        return (yield Work(lambda: 2, is_heavy=False))

    assert drivers.run(steps()) == 2
    assert await drivers.arun(steps()) == 2

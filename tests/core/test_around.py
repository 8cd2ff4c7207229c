"""`encryption_context` as a decorator: of every kind of function, the block is around every step and nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from encrypted_serde import ConfigurationError, encryption_context
from encrypted_serde.core.context import acting, current


def seen() -> str:
    context = current.get()
    return "nobody" if context is None else context.pairs.get("tenant_id", "nobody")


def plain(first: int, *, last: int = 0) -> tuple[str, int]:
    return seen(), first + last


async def coroutine(first: int) -> tuple[str, int]:
    await asyncio.sleep(0)
    return seen(), first


def generator(first: int) -> Iterator[Any]:
    try:
        got = yield seen(), first
        got = yield seen(), got
    except ZeroDivisionError:
        yield seen(), "caught"
    finally:
        acts.append(seen())
    return seen()


async def async_generator(first: int) -> AsyncIterator[Any]:
    try:
        got = yield seen(), first
        got = yield seen(), got
    except ZeroDivisionError:
        yield seen(), "caught"
    finally:
        acts.append(seen())


acts: list[str] = []


@pytest.fixture(autouse=True)
def no_acts() -> None:
    acts.clear()


as_acme = encryption_context(tenant_id="acme", actor="a job")


def test_a_function() -> None:
    assert as_acme(plain)(1, last=2) == ("acme", 3)
    assert seen() == "nobody"
    assert inspect.signature(as_acme(plain)) == inspect.signature(plain)


async def test_a_coroutine_function_is_still_one() -> None:
    decorated = as_acme(coroutine)
    assert inspect.iscoroutinefunction(decorated)
    waiting = decorated(1)
    assert (await waiting, seen()) == (("acme", 1), "nobody")


def test_a_generator_sees_it_at_every_step_and_its_caller_at_none() -> None:
    running = as_acme(generator)(1)
    assert (next(running), seen()) == (("acme", 1), "nobody")
    assert (running.send("two"), seen()) == (("acme", "two"), "nobody")  # type: ignore[attr-defined]
    with pytest.raises(StopIteration) as end:
        next(running)
    assert (end.value.value, acts) == ("acme", ["acme"])


async def test_an_async_generator_sees_it_at_every_step_and_its_caller_at_none() -> None:
    running: Any = as_acme(async_generator)(1)
    assert (await anext(running), seen()) == (("acme", 1), "nobody")
    assert (await running.asend("two"), seen()) == (("acme", "two"), "nobody")
    assert [part async for part in running] == []
    assert acts == ["acme"]


def test_a_generator_may_be_stepped_in_a_thread_and_a_copy_of_the_context_each() -> None:
    running = as_acme(generator)(1)
    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(contextvars.copy_context().run, next, running, "end").result() for _ in range(3)]
    assert parts == [("acme", 1), ("acme", None), "end"]


async def test_errors_and_closing_reach_the_generator_within_the_block() -> None:
    running: Any = as_acme(generator)(1)
    next(running)
    assert running.throw(ZeroDivisionError()) == ("acme", "caught")
    running.close()
    arunning: Any = as_acme(async_generator)(1)
    await anext(arunning)
    assert await arunning.athrow(ZeroDivisionError()) == ("acme", "caught")
    await arunning.aclose()
    assert acts == ["acme", "acme"]


def test_the_actor_goes_along() -> None:
    assert as_acme(acting.get)() == "a job"


async def test_calls_at_the_same_time_keep_apart() -> None:
    decorated = [encryption_context(tenant_id=f"t{number}")(coroutine) for number in range(20)]
    assert await asyncio.gather(*(call(1) for call in decorated)) == [(f"t{number}", 1) for number in range(20)]


@pytest.mark.parametrize("function", [lambda: coroutine(1), lambda: generator(1), lambda: async_generator(1)])
def test_a_function_that_returns_what_runs_later_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="runs later"):
        as_acme(function)()


@pytest.mark.parametrize("thing", [7, int, generator(1)])
def test_what_is_no_function_is_not_decorated(thing: Any) -> None:
    with pytest.raises(TypeError, match="only functions"):
        as_acme(thing)


def test_a_block_is_entered_once_at_a_time() -> None:
    block = encryption_context(tenant_id="acme")
    with block, pytest.raises(ConfigurationError, match="entered already"), block:
        pass
    assert seen() == "nobody"
    with block:
        assert seen() == "acme"

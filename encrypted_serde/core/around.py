"""A context manager around every step of a function, of whichever of the four kinds it is.

A generator is entered and left at every step: between two steps its caller sees nothing of the block, and it does not matter in
which thread or context of execution the next step is made.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

Block = Callable[[], AbstractContextManager[None]]
"""Makes the context manager anew, for each call or step."""


def around(block: Block, function: F) -> F:
    """Wraps a function, a coroutine function, a generator function or an asynchronous generator function.

    Raises:
        TypeError: If it is none of these: a class, or a generator that runs already.
    """
    wrap = _around_call
    if inspect.isasyncgenfunction(function):
        wrap = _around_async_generator
    elif inspect.isgeneratorfunction(function):
        wrap = _around_generator
    elif inspect.iscoroutinefunction(function):
        wrap = _around_coroutine
    elif not callable(function) or inspect.isclass(function):
        raise TypeError(f"only functions are decorated with an encryption_context, not {type(function).__name__}")
    return cast("F", wraps(function)(wrap(block, function)))


def _around_call(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with block():
            result = function(*args, **kwargs)
        return _later(block, result)

    return call


def _later(block: Block, result: Any) -> Any:
    """Refuses what a plain function returns only to run later: it would run without the block."""
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(
            f"a function that is decorated with an encryption_context returned a {type(result).__name__}, which runs later: "
            "decorate the function that is `async def` or has the `yield`"
        )
    return result


def _around_coroutine(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with block():
            return await function(*args, **kwargs)

    return call


def _around_generator(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    def steps(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        step = partial(generator.send, None)
        while True:
            try:
                with block():
                    part = step()
            except StopIteration as end:
                return end.value
            try:
                step = partial(generator.send, (yield part))
            except BaseException as error:  # noqa: BLE001  # the generator's own affair, GeneratorExit too
                step = partial(generator.throw, error)

    return steps


def _around_async_generator(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    async def steps(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        step = partial(generator.asend, None)
        while True:
            try:
                with block():
                    part = await step()
            except StopAsyncIteration:
                return
            try:
                step = partial(generator.asend, (yield part))
            except BaseException as error:  # noqa: BLE001  # as above
                step = partial(generator.athrow, error)

    return steps

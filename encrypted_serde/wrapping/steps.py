"""One description of what a method does, and two drivers of it: for methods that block, and for those on an event loop.

A method is written once, as a generator. It yields what it needs done, is sent the result, and returns its own. `run` and
`arun` do what is yielded, each in its way; `stream` and `astream` also hand out each value that is yielded as `Give`, which
`run` and `arun` pass over.

A generator is only ever advanced by its driver, on the thread or event loop of the caller. What computes for long is yielded as
`Work`, a function that touches nothing of the method: a thread may go on with it after the caller was cancelled. What a step
raises, a cancellation too, is raised in the generator where it yielded the step.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from ..core.waiting import aside

T = TypeVar("T")


class Step(Protocol):
    """Something to be done."""

    def now(self) -> Any:
        """Does it."""
        ...

    async def later(self) -> Any:
        """Does it without holding the event loop."""
        ...


class Work(NamedTuple):
    """Something that only computes, and perhaps for long.

    Attributes:
        function: What to call. It changes nothing but what it returns, so that it may be called again once a key is there.
        is_heavy: Whether it takes long, or asks a provider that makes its callers wait; or a function that says so.
    """

    function: Callable[[], Any]
    is_heavy: bool | Callable[[], bool]

    def now(self) -> Any:
        """Computes."""
        return self.function()

    async def later(self) -> Any:
        """Computes, in a thread if it is heavy."""
        return await aside(self.is_heavy if isinstance(self.is_heavy, bool) else self.is_heavy(), self.function)


class Give(NamedTuple):
    """What the caller of a `stream` is to get."""

    value: Any

    def now(self) -> None:
        """Does nothing."""

    async def later(self) -> None:
        """Does nothing."""


Steps = Generator[Any, Any, T]
"""Yields `Step` (and `Give`, where it is streamed), is sent what each step returned, returns what the method returns."""


def run(steps: Steps[T]) -> T:
    """Does steps one after the other, and returns what they come to."""
    try:
        step = next(steps)
        while True:
            try:
                answer = step.now()
            except BaseException as error:  # noqa: BLE001  # the generator decides about it
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        steps.close()


async def arun(steps: Steps[T]) -> T:
    """Does steps as `run` does, without holding the event loop."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await step.later()
            except BaseException as error:  # noqa: BLE001  # the generator decides about it, and about a cancellation
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        steps.close()


def stream(steps: Steps[Any]) -> Generator[Any, None, None]:
    """Does steps, and yields what they give. Steps that can be closed are closed in the end."""
    opened: list[Any] = []
    try:
        step = next(steps, None)
        while step is not None:
            if isinstance(step, Give):
                yield step.value
            _note(opened, step)
            step = _next(steps, step.now())
    finally:
        steps.close()
        for each in opened:
            each.close()


async def astream(steps: Steps[Any]) -> AsyncGenerator[Any, None]:
    """Does steps as `stream` does, without holding the event loop."""
    opened: list[Any] = []
    try:
        step = next(steps, None)
        while step is not None:
            if isinstance(step, Give):
                yield step.value
            _note(opened, step)
            step = _next(steps, await step.later())
    finally:
        steps.close()
        for each in opened:
            await each.aclose()


def _next(steps: Steps[Any], answer: Any) -> Any:
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _note(opened: list[Any], step: object) -> None:
    if hasattr(step, "aclose") and step not in opened:
        opened.append(step)

"""The methods that a saver has only if the saver it wraps has them.

LangGraph and Agent Server find out by looking at the *type* of a saver whether a method is its own or the base class's. So
the wrapper's type is made to fit: a subclass, cached, with just those that the inner saver's type overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import DeltaChannelHistory

from ..wrapping.steps import Give, Steps, Work, arun, run
from .base import WiredSaver
from .copying import copy_steps
from .listing import Asked
from .steps import Call
from .traits import overrides


def class_for(
    wrapper: type[WiredSaver], cls: type[WiredSaver], inner: type[Any], *, verify_delta_history: bool
) -> type[WiredSaver]:
    """Returns the subclass that has the optional methods of an inner saver.

    Args:
        wrapper: `EncryptedSaver` itself.
        cls: The class that was called: the same, or somebody's subclass, whose own methods come first.
        inner: The class of the saver it wraps.
        verify_delta_history: Leave out the fast way to a delta channel's history; the slow one goes through verified rows.
    """
    names = [name for name in _METHODS if overrides(inner, name)]
    if verify_delta_history:
        names = [name for name in names if name not in _FAST_HISTORY]
    called: type[WiredSaver] = vars(cls).get("_chosen_for", cls)
    return _subclass(wrapper, called, frozenset(names))  # type: ignore[arg-type]  # a class is hashable


@lru_cache(maxsize=256)
def _subclass(wrapper: type[WiredSaver], cls: type[WiredSaver], names: frozenset[str]) -> type[WiredSaver]:
    members: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    members["_chosen_for"] = cls
    if cls is wrapper:
        return type(cls.__name__, (cls,), {**members, **{name: _METHODS[name] for name in names}})
    return type(cls.__name__, (cls, _subclass(wrapper, wrapper, names)), members)  # type: ignore[arg-type]  # as above


def delete_thread(self: WiredSaver, thread_id: str, **named: Any) -> Any:
    """Deletes a thread. Arguments and result are those of the inner saver. With an anchor the deletion is entered there."""
    return run(_delete_steps(self, thread_id, named))


async def adelete_thread(self: WiredSaver, thread_id: str, **named: Any) -> Any:
    """Deletes a thread, as `delete_thread` does."""
    return await arun(_delete_steps(self, thread_id, named))


def prune(self: WiredSaver, thread_ids: Sequence[str], **named: Any) -> Any:
    """Prunes threads, as the inner saver does. Arguments and result are those of the inner saver.

    With an anchor what is gone is entered, and the newest checkpoint stays required.

    Raises:
        ConfigurationError: If metadata of a thread are sealed that tell the inner saver which threads it must not prune.
    """
    return run(_prune_steps(self, thread_ids, named))


async def aprune(self: WiredSaver, thread_ids: Sequence[str], **named: Any) -> Any:
    """Prunes threads, as `prune` does."""
    return await arun(_prune_steps(self, thread_ids, named))


def delete_for_runs(self: WiredSaver, run_ids: Sequence[str], **named: Any) -> Any:
    """Deletes what runs wrote, as the inner saver does: ``run_id`` is a readable metadata key. Returns its result."""
    return run(_delete_for_runs_steps(self, run_ids, named))


async def adelete_for_runs(self: WiredSaver, run_ids: Sequence[str], **named: Any) -> Any:
    """Deletes what runs wrote, as `delete_for_runs` does."""
    return await arun(_delete_for_runs_steps(self, run_ids, named))


def copy_thread(self: WiredSaver, source_thread_id: str, target_thread_id: str) -> None:
    """Copies a thread. Every row is verified, and sealed again for its new place under the context it had."""
    run(_copy_steps(self, source_thread_id, target_thread_id))


async def acopy_thread(self: WiredSaver, source_thread_id: str, target_thread_id: str) -> None:
    """Copies a thread, as `copy_thread` does."""
    await arun(_copy_steps(self, source_thread_id, target_thread_id))


def _delete_steps(self: WiredSaver, thread_id: str, named: Mapping[str, Any]) -> Steps[Any]:
    delete = Call(self._wiring.gated, "delete_thread", (thread_id,), None, named)
    if self._anchoring is None:
        return (yield delete)
    return (yield from self._anchoring.delete_threads([thread_id], delete))


def _prune_steps(self: WiredSaver, thread_ids: Sequence[str], named: Mapping[str, Any]) -> Steps[Any]:
    def prune_those(chosen: Sequence[str]) -> Call:
        return Call(self._wiring.gated, "prune", (chosen,), None, named)

    is_whole = named.get("strategy") == "delete"
    if self._anchoring is None or isinstance(thread_ids, str):  # which the inner saver refuses
        return (yield prune_those(thread_ids))
    if is_whole:
        return (yield from self._anchoring.delete_threads(thread_ids, prune_those(thread_ids)))
    return (yield from self._anchoring.prune(thread_ids, prune_those))


def _delete_for_runs_steps(self: WiredSaver, run_ids: Sequence[str], named: Mapping[str, Any]) -> Steps[Any]:
    delete = Call(self._wiring.gated, "delete_for_runs", (run_ids,), None, named)
    if self._anchoring is None:
        return (yield delete)
    return (yield from self._anchoring.delete_for_runs(run_ids, delete))


def _copy_steps(self: WiredSaver, source_thread_id: str, target_thread_id: str) -> Steps[None]:
    only = None
    if self._anchoring is not None:  # a thread that lacks something is not copied at all
        lister, (expected, _) = self._anchoring.lister(), self._for_copying()
        source: RunnableConfig = {"configurable": {"thread_id": source_thread_id}}
        yield from _unheard(lister.steps(Asked(source, expected, None, None, None)))
        only = lister.listed
    yield from copy_steps(self, source_thread_id, target_thread_id, only)


def _unheard(steps: Steps[None]) -> Steps[None]:
    """Does steps that give their caller something, for their effect alone."""
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            return
        answer = None if isinstance(step, Give) else (yield step)


def get_delta_channel_history(
    self: WiredSaver, *, config: RunnableConfig, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Returns writes and seeds of delta channels, each authenticated to thread, namespace and channel."""
    return run(_history_steps(self, config, channels))


async def aget_delta_channel_history(
    self: WiredSaver, *, config: RunnableConfig, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Returns writes and seeds of delta channels, as `get_delta_channel_history` does."""
    return await arun(_history_steps(self, config, channels))


def _history_steps(
    self: WiredSaver, config: RunnableConfig, channels: Sequence[str]
) -> Steps[Mapping[str, DeltaChannelHistory]]:
    asked, at = self._asked(config)
    found = yield Call(self._wiring.gated, "get_delta_channel_history", (), at.context, {"config": asked, "channels": channels})
    opened: Mapping[str, DeltaChannelHistory] = yield Work(lambda: self._opener.history(found, at), is_heavy=True)
    return opened


def setup(self: WiredSaver) -> Any:
    """Sets up the inner saver's database. Await the result where the inner saver's own is awaited."""
    return cast("Any", self._wiring.gated).setup()


_FAST_HISTORY: dict[str, Callable[..., Any]] = {
    "get_delta_channel_history": get_delta_channel_history,
    "aget_delta_channel_history": aget_delta_channel_history,
}

_METHODS: dict[str, Callable[..., Any]] = {
    "delete_thread": delete_thread,
    "adelete_thread": adelete_thread,
    "prune": prune,
    "aprune": aprune,
    "delete_for_runs": delete_for_runs,
    "adelete_for_runs": adelete_for_runs,
    "copy_thread": copy_thread,
    "acopy_thread": acopy_thread,
    "setup": setup,
    **_FAST_HISTORY,
}

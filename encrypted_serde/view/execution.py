"""What of a checkpoint is about to happen: nodes that run next, interrupts, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..wrapping.upstream import TASKS
from .model import Write
from .values import Fields, Object, Scalar, Value
from .values import Sequence as SequenceValue

INTERRUPT, ERROR, RESUME = "__interrupt__", "__error__", "__resume__"
START = "__start__"
_BRANCH, _JOIN = "branch:to:", "join:"
_PULL, _PUSH = "~__pregel_pull, ", "~__pregel_push, "  # how paths of tasks begin: of nodes, and of what `Send` sent


def is_internal(channel: str) -> bool:
    """Says whether a channel is LangGraph's own: how a graph goes on, and none of its state."""
    return channel.startswith((_BRANCH, _JOIN, "__"))


def next_nodes(document: Mapping[str, Any], values: Mapping[str, Value | None], writes: Sequence[Write]) -> tuple[str, ...]:
    """Returns the nodes that run next, as far as a checkpoint tells without the application's code.

    Args:
        document: The checkpoint.
        values: Its channel values.
        writes: Its pending writes where they count, at the newest checkpoint: a task that wrote does not run again.
    """
    done = {write.path for write in writes if not write.channel.startswith("__")}
    pulled = {name for path in done if path.startswith(_PULL) for name in [path.removeprefix(_PULL)]}
    pushed = {int(number) for path in done if (number := path.removeprefix(_PUSH)).isdigit()}
    sent = [name for number, name in enumerate(_sent(values.get(TASKS))) if number not in pushed]
    return (*sent, *(name for name in _triggered(document, values) if name not in pulled))


def _triggered(document: Mapping[str, Any], values: Mapping[str, Value | None]) -> Iterator[str]:
    versions, seen = document.get("channel_versions"), document.get("versions_seen")
    if not isinstance(versions, Mapping) or not isinstance(seen, Mapping):
        return
    for channel, version in versions.items():
        node = _target(channel, values)
        if node and _is_newer(version, seen.get(node), channel):
            yield node


def _target(channel: str, values: Mapping[str, Value | None]) -> str:
    """Returns the node that a channel starts, if it holds what that takes."""
    if channel not in values:
        return ""
    if channel == START:
        return START
    if channel.startswith(_BRANCH):
        return channel[len(_BRANCH) :]
    sources, _, node = channel[len(_JOIN) :].rpartition(":") if channel.startswith(_JOIN) else ("", "", "")
    arrived = values.get(channel)
    content = arrived.content if isinstance(arrived, Object) else arrived
    count = len(content.items) if isinstance(content, SequenceValue) else 0
    return node if sources and count == len(sources.split("+")) else ""


def _is_newer(version: object, seen: object, channel: str) -> bool:
    last = seen.get(channel) if isinstance(seen, Mapping) else None
    if last is None or type(last) is not type(version):
        return last != version
    return bool(version > last)  # type: ignore[operator]


def _sent(tasks: Value | None) -> Iterator[str]:
    """Returns the nodes that `Send` objects name."""
    for task in tasks.items if isinstance(tasks, SequenceValue) else ():
        arguments = task.content.items if isinstance(task, Object) and isinstance(task.content, SequenceValue) else ()
        if arguments and isinstance(arguments[0], Scalar):
            yield str(arguments[0].value)


def task_name(path: str) -> str:
    """Returns the node in the path of a task, or the number of what `Send` sent."""
    return path.removeprefix(_PULL).removeprefix(_PUSH)


def asked_in(value: Value | None) -> list[Value]:
    """Returns what interrupts ask, given what is written for them; the value itself where it is of another form."""
    found = value.items if isinstance(value, SequenceValue) else (value,)
    contents = [each.content if isinstance(each, Object) else None for each in found]
    asked = [content.get("value") if isinstance(content, Fields) else None for content in contents]
    return [each for each in asked if each is not None] or ([] if value is None else [value])

"""Messages of a conversation, as LangChain stores them: by role, content blocks and tool calls."""

from __future__ import annotations

from dataclasses import dataclass

from .values import NONE, Binary, Fields, Object, Opaque, Scalar, Sequence, Value

ROLES = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "AIMessageChunk": "assistant",
    "HumanMessageChunk": "user",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "chat": "chat",
    "remove": "removed",
}
"""The role that is shown for a type that LangChain or a provider writes."""

_SHOWN = frozenset({"content", "type", "role", "name", "id", "tool_calls", "invalid_tool_calls", "tool_call_id", "status"})
_DEFAULTS = (NONE, Fields(()), Sequence(()), Scalar(False))


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a message's content.

    Attributes:
        kind: ``text``, or what the application or the provider calls it: ``image``, ``reasoning``, ``tool_use``, ...
        text: Its text; empty where it has none.
        value: The whole block, where it is more than its text.
    """

    kind: str
    text: str
    value: Value = NONE


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that a model asked for.

    Attributes:
        name: The tool.
        id: By which its answer names it.
        arguments: What it is called with.
        is_valid: Whether LangChain could read it.
    """

    name: str
    id: str
    arguments: Value
    is_valid: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    Attributes:
        role: One of the values of `ROLES`.
        name: Who it is from, where that is said; of a tool's answer the tool.
        id: Its id.
        blocks: Its content.
        tool_calls: The tools that it calls.
        answers: Id of the call that it answers.
        status: Of a tool's answer: ``success`` or ``error``.
        more: The fields that are not in the others and are not empty.
    """

    role: str
    name: str
    id: str
    blocks: tuple[Block, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    answers: str = ""
    status: str = ""
    more: Fields = Fields(())  # noqa: RUF009  # immutable


def as_message(value: Value) -> Message | None:
    """Reads a message; None if a value is none."""
    fields = value.content if isinstance(value, Object) else value
    if not isinstance(fields, Fields):
        return None
    content, type_ = fields.get("content"), _text(fields.get("type") or fields.get("role"))
    if isinstance(value, Object) and value.name.startswith("langchain") and type_ not in ROLES:
        type_ = value.short_name.removesuffix("Chunk").removesuffix("Message").lower()
    if content is None or type_ not in ROLES:
        return None
    return Message(
        ROLES[type_],
        _text(fields.get("name")),
        _text(fields.get("id")),
        _blocks(content),
        (*_calls(fields.get("tool_calls"), True), *_calls(fields.get("invalid_tool_calls"), False)),
        _text(fields.get("tool_call_id")),
        _text(fields.get("status")) if type_ == "tool" else "",
        Fields(tuple(pair for pair in fields.pairs if _text(pair[0]) not in _SHOWN and pair[1] not in _DEFAULTS)),
    )


def as_conversation(value: Value) -> tuple[Message, ...] | None:
    """Reads a list of messages; None if a value is none, or empty."""
    if not isinstance(value, Sequence):
        return None
    found = [as_message(item) or _pair(item) for item in value.items]
    messages = tuple(message for message in found if message is not None)
    return messages if messages and len(messages) == len(found) else None


def _pair(value: Value) -> Message | None:
    """Reads ``("user", "hello")``, which LangGraph stores as a write before it makes a message of it."""
    role, content = value.items if isinstance(value, Sequence) and len(value.items) == 2 else (NONE, NONE)
    name = _text(role)
    return Message(ROLES[name], "", "", _blocks(content)) if name in ROLES and isinstance(content, Scalar) else None


def _blocks(content: Value) -> tuple[Block, ...]:
    if isinstance(content, Scalar):
        return (Block("text", _text(content)),) if content.value not in (None, "") else ()
    return tuple(map(_block, content.items)) if isinstance(content, Sequence) else (Block(content.kind, "", content),)


def _block(value: Value) -> Block:
    if isinstance(value, Scalar):
        return Block("text", _text(value))
    if not isinstance(value, Fields):
        return Block(value.kind, "", value)
    kind = _text(value.get("type")) or "block"
    texts = [_text(value.get(name)) for name in ("text", "reasoning", "thinking")]
    text = next((text for text in texts if text), "")
    is_plain = kind == "text" and {_text(key) for key, item in value.pairs if item not in _DEFAULTS} <= {"type", "text"}
    return Block(kind, text, NONE if is_plain else value)


def _calls(value: Value | None, is_valid: bool) -> tuple[ToolCall, ...]:
    calls = value.items if isinstance(value, Sequence) else ()
    return tuple(
        ToolCall(_text(call.get("name")), _text(call.get("id")), call.get("args") or NONE, is_valid)
        for call in calls
        if isinstance(call, Fields)
    )


def _text(value: Value | None) -> str:
    if isinstance(value, Scalar) and value.value is not None:
        return str(value.value)
    return "" if value is None or isinstance(value, (Scalar, Binary, Opaque)) else value.kind

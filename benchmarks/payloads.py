"""What is serialized: from one int to 16 MiB, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

_WORDS = ("state", "graph", "node", "edge", "channel", "thread", "write", "step", "task", "message", "tool", "answer", "plan")


@lru_cache(maxsize=256)
def words(size: int, seed: int = 0) -> str:
    """Gives text of exactly this many characters: words, since that is what databases are asked to compress."""
    draw = random.Random(seed)
    return " ".join(draw.choices(_WORDS, k=size // 3))[:size]


def messages(count: int, size: int = 400) -> list[AnyMessage]:
    """Gives a conversation: question, tool call, the tool's answer, question, ... with `size` characters in each."""
    conversation: list[AnyMessage] = []
    for number in range(count):
        text, call = words(size, seed=number % 100), f"call-{number // 3}"
        if number % 3 == 0:
            conversation.append(HumanMessage(text, id=f"message-{number}"))
        elif number % 3 == 1:
            calls = [{"name": "search", "args": {"query": text[:40]}, "id": call}]
            conversation.append(AIMessage(text, id=f"message-{number}", tool_calls=calls))
        else:
            conversation.append(ToolMessage(text, id=f"message-{number}", tool_call_id=call))
    return conversation


def random_bytes(size: int) -> bytes:
    """Gives bytes that do not compress."""
    return random.Random(size).randbytes(size)


PAYLOADS: dict[str, Callable[[], Any]] = {
    "an int": lambda: 5,
    "a str of 200": lambda: words(200),
    "a message": lambda: messages(1)[0],
    "10 messages": lambda: messages(10),
    "100 messages": lambda: messages(100),
    "1000 messages": lambda: messages(1000),
    "numpy 256x256": lambda: np.random.default_rng(0).random((256, 256)),
    "bytes 1 KiB": lambda: random_bytes(1 << 10),
    "bytes 64 KiB": lambda: random_bytes(1 << 16),
    "bytes 1 MiB": lambda: random_bytes(1 << 20),
    "bytes 16 MiB": lambda: random_bytes(1 << 24),
}
"""Every payload by name; made when it is needed."""

"""A graph that puts a secret of its own into every kind of place, and a search for them in whatever was stored.

`pg_dump | grep` proves nothing (binary columns are hex there), so every column is searched in its raw form, and for the forms
that a secret may take: UTF-8, hex, base64, decimal digits, binary numbers; and again after undoing hex and base64.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
import operator
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel


def _text(place: str) -> str:
    return f"{place}-Zx81qW"


class Colour(str, enum.Enum):
    SECRET = _text("enum")


class Card(BaseModel):
    number: str


SECRETS: dict[str, str | int | float] = {
    **{
        place: _text(place)
        for place in (
            "str",
            "enum",
            "list",
            "human",
            "assistant",
            "pydantic",
            "configurable",
            "metadata",
            "send",
            "interrupt",
            "resume",
            "error",
            "functional-input",
            "functional-task",
            "functional-save",
            "subgraph",
            "update-state",
            "command-update",
        )
    },
    "int": 7_316_492_058_413_377_001,
    "float": 0.7316492058413377,
}


class State(TypedDict, total=False):
    text: str
    number: int
    ratio: float
    flag: bool
    colour: Colour
    items: Annotated[list, operator.add]
    messages: Annotated[list[AnyMessage], add_messages]
    card: Card
    said: str


class Part(TypedDict, total=False):
    part: str
    items: Annotated[list, operator.add]


def graph(saver: Any) -> Any:
    child = StateGraph(Part)
    child.add_node("inside", lambda state: {"part": _text("subgraph")})
    child.add_edge(START, "inside")
    builder = StateGraph(State)
    builder.add_node("fill", _fill)
    builder.add_node("sent", lambda part: {"items": ["received"]})
    builder.add_node("child", child.compile(checkpointer=True))
    builder.add_node("ask", lambda state: {"said": interrupt(_text("interrupt"))})
    builder.add_node("fail", _fail)
    builder.add_edge(START, "fill")
    builder.add_conditional_edges("fill", lambda state: [Send("sent", {"part": _text("send")})], ["sent"])
    builder.add_edge("sent", "child")
    builder.add_edge("child", "ask")
    builder.add_edge("ask", "fail")
    builder.add_edge("fail", END)
    return builder.compile(checkpointer=saver)


def _fill(state: State) -> dict[str, Any]:
    return {
        "text": _text("str"),
        "number": SECRETS["int"],
        "ratio": SECRETS["float"],
        "flag": True,
        "colour": Colour.SECRET,
        "items": [_text("list")],
        "messages": [AIMessage(_text("assistant"))],
        "card": Card(number=_text("pydantic")),
    }


def _fail(state: State) -> dict[str, Any]:
    raise RuntimeError(_text("error"))


@task
def _work(number: str) -> str:
    return _text("functional-task")


def flow(saver: Any) -> Any:
    @entrypoint(checkpointer=saver)
    def run(given: str) -> Any:
        done = _work(given).result()
        interrupt("ready?")
        return entrypoint.final(value=done, save=_text("functional-save"))

    return run


def config(thread: str) -> dict[str, Any]:
    secret = {"configurable": {"api_key": _text("configurable")}, "metadata": {"customer": _text("metadata")}}
    secret["configurable"]["thread_id"] = thread
    return secret


def steps(saver: Any) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """Yields what to do: a graph, the name of its method without ``a``, and the arguments. The last but one raises."""
    yield graph(saver), "invoke", ({"messages": [HumanMessage(_text("human"))], "items": []}, config("one"))
    yield graph(saver), "update_state", (config("one"), {"text": _text("update-state")}, "child")
    yield graph(saver), "invoke", (None, config("one"))
    yield graph(saver), "invoke", (Command(resume=_text("resume"), update={"text": _text("command-update")}), config("one"))
    yield flow(saver), "invoke", (_text("functional-input"), config("two"))
    yield flow(saver), "invoke", (Command(resume="yes"), config("two"))


def found_in(cells: Iterable[Any], secrets: Mapping[str, str | int | float] = SECRETS) -> set[str]:
    """Gives the places whose secret stands in one of the cells, in whatever form."""
    forms = {place: _forms(secret) for place, secret in secrets.items()}
    found: set[str] = set()
    for cell in cells:
        for data in _views(_raw(cell)):
            found |= {place for place, each in forms.items() if any(form in data for form in each)}
    return found


def _raw(cell: Any) -> bytes:
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return bytes(cell)
    if isinstance(cell, str):
        return cell.encode("utf-8", "surrogatepass")
    return json.dumps(cell, ensure_ascii=False, default=str).encode()


def _forms(secret: str | float) -> list[bytes]:
    if isinstance(secret, str):
        raw = [secret.encode()]
    elif isinstance(secret, int):
        raw = [str(secret).encode(), secret.to_bytes(8, "big"), secret.to_bytes(8, "little")]
    else:
        raw = [repr(secret).encode(), struct.pack(">d", secret), struct.pack("<d", secret)]
    return [form for each in raw for form in (each, each.hex().encode(), each.hex().upper().encode(), *_base64_forms(each))]


def _base64_forms(data: bytes) -> list[bytes]:
    """The characters of base64 that depend on the data alone, for each of three alignments, in both alphabets."""
    forms = []
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + data)
        middle = encoded[-(-8 * shift // 6) : 8 * (shift + len(data)) // 6]
        forms += [middle, middle.translate(bytes.maketrans(b"+/", b"-_"))]
    return forms


def _views(data: bytes) -> Iterator[bytes]:
    yield data
    for run in re.findall(rb"[0-9a-fA-F]{16,}", data):
        yield binascii.unhexlify(run[: len(run) // 2 * 2])
    for run in re.findall(rb"[A-Za-z0-9+/_-]{16,}", data):
        for shift in range(4):
            piece = run[shift:].translate(bytes.maketrans(b"-_", b"+/"))
            piece = piece[: len(piece) // 4 * 4]
            yield base64.b64decode(piece)


def flatten(stored: Any) -> Iterator[Any]:
    """Gives the leaves of nested containers: what an InMemorySaver holds."""
    if isinstance(stored, dict):
        for name, value in stored.items():
            yield from flatten(name)
            yield from flatten(value)
    elif isinstance(stored, (list, tuple, set)):
        for item in stored:
            yield from flatten(item)
    else:
        yield stored

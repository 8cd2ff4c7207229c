"""What a stored value holds is shown without the application's classes, and nothing of it runs."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from typing import Any

import numpy as np
import ormsgpack
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send

from encrypted_serde.view import Block, Fields, Object, Opaque, Scalar, Value, as_json
from encrypted_serde.view.messages import as_conversation, as_message
from encrypted_serde.view.printable import one_line, printable
from encrypted_serde.view.text import MAX_ALL, trimmed
from encrypted_serde.view.values import MAX_DEPTH, MAX_PARTS, of_plain, read_value, texts


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Order:
    number: int
    parts: list[Any]


class Customer(pydantic.BaseModel):
    name: str
    born: datetime.date


class Pair(collections.namedtuple("Pair", "left right")):
    pass


def read(value: Any) -> Value:
    return read_value(*JsonPlusSerializer().dumps_typed(value))


HERE = __name__
OBJECTS = {
    "None": (None, None),
    "bool": (True, True),
    "large": (2**63, 2**63),
    "nan": (float("nan"), {"$float": "nan"}),
    "bytes": (b"abc", {"$bytes": "YWJj"}),
    "tuple": ((1, 2), [1, 2]),
    "keys": ({(1, 2): 3}, {"$pairs": [[[1, 2], 3]]}),
    "dollar": ({"$class": "os.system"}, {"$pairs": [["$class", "os.system"]]}),
    "enum": (Color.RED, {"$class": f"{HERE}.Color", "value": "red"}),
    "dataclass": (Order(1, [Color.RED]), {"$class": f"{HERE}.Order", "fields": {"number": 1, "parts": [None]}}),
    "pydantic": (
        Customer(name="Ann", born=datetime.date(2000, 1, 2)),
        {"$class": f"{HERE}.Customer", "fields": {"name": "Ann", "born": {"$class": "datetime.date", "value": "2000-01-02"}}},
    ),
    "namedtuple": (Pair(1, 2), None),
    "datetime": (datetime.datetime(2026, 1, 2, 3), {"$class": "datetime.datetime", "value": "2026-01-02T03:00:00"}),
    "time": (datetime.time(1, 2), {"$class": "datetime.time", "value": "01:02:00"}),
    "timedelta": (datetime.timedelta(days=1), {"$class": "datetime.timedelta", "value": "1 day, 0:00:00"}),
    "uuid": (uuid.UUID(int=7), {"$class": "uuid.UUID", "value": "00000000-0000-0000-0000-000000000007"}),
    "decimal": (decimal.Decimal("1.50"), {"$class": "decimal.Decimal", "value": "1.50"}),
    "set": ({1}, {"$class": "builtins.set", "items": [1]}),
    "deque": (collections.deque([1]), {"$class": "collections.deque", "items": [1]}),
    "path": (pathlib.PosixPath("/a/b"), {"$class": "pathlib.PosixPath", "value": "/a/b"}),
    "interrupt": (Interrupt(value="ok?", id="1"), None),
    "send": (Send("work", {"a": 1}), {"$class": "langgraph.types.Send", "items": ["work", {"a": 1}]}),
}


def test_a_path_that_python_3_13_packed_is_shown_as_one() -> None:
    packed = ormsgpack.packb(ormsgpack.Ext(1, ormsgpack.packb(("pathlib._local", "PosixPath", ["/", "a", "b"]))))
    assert read_value("msgpack", packed) == Object("pathlib.PosixPath", Scalar("/a/b"))


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_shown_by_class_name_and_fields(name: str) -> None:
    value, expected = OBJECTS[name]
    found = as_json(read(value))
    json.dumps(found)
    if name == "dataclass":
        expected["fields"]["parts"] = [{"$class": f"{HERE}.Color", "value": "red"}]
    if expected is not None or value is None:
        assert found == expected


def test_a_numpy_array_is_shown_by_type_and_shape() -> None:
    found = as_json(read(np.zeros((2, 3), dtype="<f4")))
    assert found["$class"] == "numpy.ndarray"
    assert (found["fields"]["dtype"], found["fields"]["shape"]) == ("<f4", [2, 3])


def test_what_is_json_is_read_as_langchain_writes_it() -> None:
    document = {"lc": 2, "type": "constructor", "id": ["app", "state", "Order"], "kwargs": {"number": 1}}
    assert read_value("json", json.dumps(document).encode()) == Object(
        "app.state.Order", Fields(((Scalar("number"), Scalar(1)),))
    )


@pytest.mark.parametrize("inner_type", ["pickle", "es-json", "msgpack", "json", "protobuf"])
def test_what_cannot_be_read_is_shown_by_its_kind_and_size(inner_type: str) -> None:
    found = read_value(inner_type, b"\xc1\x04\x95 cos\nsystem\n")
    assert isinstance(found, Opaque)
    assert inner_type in found.what
    assert found.size == 15


# --- nothing runs, nothing grows ---------------------------------------------------------------------------------------


# rule T-29
@pytest.mark.parametrize("code", range(6))
def test_an_object_that_would_run_code_is_a_name_and_its_arguments(code: int, tmp_path: pathlib.Path) -> None:
    command = f"touch {tmp_path / 'ran'}"
    packed = ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(("os", "system", command, "system"))))
    assert read_value("msgpack", packed) == Object("os.system", Scalar(command))
    assert not (tmp_path / "ran").exists()


def test_objects_nested_in_objects_without_end_are_cut() -> None:
    packed = ormsgpack.packb(1)
    for _ in range(5000):
        packed = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(("m", "C", 1))[:-1] + packed))
    found, depth = read_value("msgpack", packed), 0
    while isinstance(found, Object):
        found, depth = found.content, depth + 1
    assert isinstance(found, Opaque)
    assert depth <= MAX_DEPTH


def test_a_value_of_too_many_parts_is_cut() -> None:
    found = read([0] * (MAX_PARTS + 10))
    assert isinstance(found.items[-1], Opaque)
    assert len(found.items) <= MAX_PARTS + 1


@given(st.binary(max_size=200), st.sampled_from(["msgpack", "json", "es-json", "null", "bytes"]))
def test_no_bytes_make_reading_fail(data: bytes, inner_type: str) -> None:
    found = read_value(inner_type, data)
    json.dumps(as_json(found))
    list(texts(found))
    as_message(found)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(_PLAIN)
def test_plain_values_come_back_as_they_are(value: Any) -> None:
    def expected(part: Any) -> Any:
        if isinstance(part, dict):
            return Fields(tuple((Scalar(key), expected(item)) for key, item in part.items()))
        return of_plain(part) if not isinstance(part, list) else type(of_plain([]))(tuple(map(expected, part)))

    assert of_plain(value) == expected(value)


def test_lists_in_lists_make_no_page_without_end() -> None:
    value: Any = "x"
    for _ in range(5):
        value = [value] * 50
    found = trimmed(of_plain(value[:10]))
    assert sum(1 for _ in texts(found)) <= MAX_ALL
    assert "more" in str(found)
    small = of_plain({"a": [1, {"b": Color.RED.value}]})
    assert trimmed(small) == small


# --- messages ----------------------------------------------------------------------------------------------------------

MESSAGES = [
    SystemMessage("be brief", id="s"),
    HumanMessage(
        [{"type": "text", "text": "what is this?"}, {"type": "image", "url": "https://e.org/a.png"}], name="Ann", id="h"
    ),
    AIMessage("", id="a", tool_calls=[{"name": "look", "args": {"x": 1}, "id": "c1"}], usage_metadata=None),
    ToolMessage("nothing", tool_call_id="c1", name="look", status="error", id="t"),
    AIMessageChunk(content=[{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "a cat"}], id="c"),
    RemoveMessage(id="h"),
]


def test_messages_are_shown_by_role_with_blocks_and_tool_calls() -> None:
    found = as_conversation(read(MESSAGES))
    assert found is not None
    assert [message.role for message in found] == ["system", "user", "assistant", "tool", "assistant", "removed"]
    assert [message.id for message in found] == [message.id for message in MESSAGES]
    assert [block.kind for block in found[1].blocks] == ["text", "image"]
    assert found[1].name == "Ann"
    assert [(call.name, call.id, as_json(call.arguments)) for call in found[2].tool_calls] == [("look", "c1", {"x": 1})]
    assert (found[3].answers, found[3].status, found[3].name) == ("c1", "error", "look")
    assert found[4].blocks == (Block("reasoning", "hm", found[4].blocks[0].value), Block("text", "a cat"))


def test_no_field_of_a_message_is_lost() -> None:
    for message, found in zip(MESSAGES, as_json(read(MESSAGES)), strict=True):
        assert found["$class"].endswith(f".{type(message).__name__}")
        assert found["fields"] == json.loads(message.model_dump_json())


def test_messages_as_plain_dicts_are_messages_and_other_lists_are_none() -> None:
    found = as_conversation(of_plain([{"role": "user", "content": "hello"}]))
    assert found is not None
    assert (found[0].role, found[0].blocks) == ("user", (Block("text", "hello"),))
    for other in ([], [{"role": "user"}], [{"type": "polygon", "content": "x"}], ["user"], {"role": "user", "content": ""}):
        assert as_conversation(of_plain(other)) is None


# --- terminals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["\x1b[31m", "\x9b2J", "\u202eevil", "\u2066", "\x07", "\r", "\u2028", "\ufeff", "\U000e0041", "\ud800", "\x00", "\x7f"],
)
def test_characters_that_steer_a_terminal_are_written_as_numbers(text: str) -> None:
    shown = printable(f"a{text}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    shown.encode()


def test_text_of_every_language_stays() -> None:
    for text in ("Grüße", "日本語", "مرحبا", "שלום", "👩‍👩‍👧", "می‌خواهم", "a\tb\nc"):
        assert printable(text) == text
    assert "\n" not in one_line("a\nb")

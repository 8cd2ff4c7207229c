"""A thread of a real agent is readable without its code, and is field by field what the application sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from encrypted_serde import Key
from encrypted_serde.view import as_json, open_view
from tests.view.agent import Order, config_of, open_saver, support_agent, write_support

WITHOUT_THE_APPLICATION = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("langchain", "deepagents", "tests"):
            raise ImportError(f"{name} is not installed where people look")

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.generate()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, key: Key) -> Path:
    place = tmp_path_factory.mktemp("agent") / "app.db"
    write_support(str(place), key)
    return place


def show(database: Path, key: Key, *arguments: str) -> Any:
    """Runs `encrypted-serde show` where nothing of the application can be imported."""
    site = database.parent / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(WITHOUT_THE_APPLICATION)
    root = str(Path(__file__).parents[2])
    environment = {
        **os.environ,
        "ENCRYPTED_SERDE_KEY": key.to_text(),
        "PYTHONPATH": os.pathsep.join([str(site), root]),
    }
    command = [sys.executable, "-m", "encrypted_serde", "show", str(database), *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def seen_by_the_application(value: Any) -> Any:
    """What the view should show for an object of the application."""
    if isinstance(value, BaseModel):
        name = f"{type(value).__module__}.{type(value).__name__}"
        return {"$class": name, "fields": json.loads(value.model_dump_json())}
    if isinstance(value, Order):
        total = {"$class": "decimal.Decimal", "value": str(value.total)}
        placed = {"$class": "datetime.date", "value": value.placed.isoformat()}
        return {"$class": "tests.view.agent.Order", "fields": {"number": value.number, "total": total, "placed": placed}}
    return [seen_by_the_application(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("thread", ["support-1007", "support-1008"])
def test_every_state_is_field_by_field_what_the_application_sees(database: Path, key: Key, thread: str) -> None:
    with open_saver(str(database), key) as saver:
        states = [*support_agent(saver).get_state_history(config_of(thread))]
    assert len(states) > 5
    with open_view(database, key) as view:
        looked_at = view.thread(thread)
        for state in states:
            found = looked_at.checkpoint(state.config["configurable"]["checkpoint_id"])
            for name, value in state.values.items():
                channel = found.channel(name)
                if channel is None:
                    assert value == []
                else:
                    assert as_json(channel.value) == seen_by_the_application(value)  # type: ignore[arg-type]
            assert sorted(found.next) == sorted(state.next)


def test_a_thread_is_readable_where_the_application_is_not_installed(database: Path, key: Key) -> None:
    found = show(database, key, "--thread", "support-1008")
    [messages] = [channel["messages"] for channel in found["channels"] if channel["name"] == "messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert messages[-1]["tool_calls"][0]["arguments"] == {"number": 4711, "amount": "89.90"}
    [write] = found["writes"]
    assert write["channel"] == "__interrupt__"
    assert write["value"][0]["$class"] == "langgraph.types.Interrupt"
    assert write["value"][0]["fields"]["value"]["action_requests"][0]["name"] == "refund"
    assert found["next"] == ["HumanInTheLoopMiddleware.after_model"]


def test_a_deep_agent_is_readable_though_its_messages_are_deltas(tmp_path: Path, key: Key) -> None:
    deepagents = pytest.importorskip("deepagents", reason="needs the extra test-integrations")
    from langchain_core.language_models import GenericFakeChatModel

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Scripted:
            return self

    write = {"name": "write_file", "args": {"file_path": "/a.txt", "content": "tea, no sugar"}, "id": "1"}
    model = Scripted(messages=iter([AIMessage("", tool_calls=[write]), AIMessage("Noted.")]))
    place = tmp_path / "deep.db"
    with open_saver(str(place), key) as saver:
        agent = deepagents.create_deep_agent(model=model, checkpointer=saver)
        agent.invoke({"messages": [("user", "I take tea without sugar.")]}, config_of("deep"))
        state = agent.get_state(config_of("deep"))
    found = show(place, key, "--thread", "deep")
    channels = {channel["name"]: channel for channel in found["channels"]}
    messages = channels["messages"]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert [block["text"] for message in messages for block in message["blocks"]] == [
        str(message.content) for message in state.values["messages"] if message.content
    ]
    assert channels["files"]["value"]["/a.txt"]["content"] == state.values["files"]["/a.txt"]["content"] == "tea, no sugar"
    assert channels["messages"]["replayed"] == 4

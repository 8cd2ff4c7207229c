"""A real agent with a fake model, tools, an interrupt and a memory: what the pages and pictures show."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.store.sqlite import SqliteStore
from langgraph.types import Command
from typing_extensions import NotRequired

from encrypted_serde import EncryptedSaver, EncryptedStore, Key, encryption_context


@dataclasses.dataclass
class Order:
    """A class of the application: the view does not import it."""

    number: int
    total: decimal.Decimal
    placed: datetime.date


class SupportState(AgentState):
    order: NotRequired[Annotated[Order, "the order that is talked about"]]


@tool
def find_order(number: int) -> str:
    """Finds an order."""
    return f"Order {number}: two lamps, 89.90 EUR, shipped on 24 November to ann@example.org"


@tool
def refund(number: int, amount: str) -> str:
    """Pays money back."""
    return f"{amount} EUR paid back to DE89 3704 0044 0532 0130 00"


class FakeModel(BaseChatModel):
    """Answers by what was said last, as a model with tools would."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **options: Any) -> FakeModel:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=_answer(messages))])


def _answer(messages: list[BaseMessage]) -> AIMessage:
    last = messages[-1]
    if isinstance(last, ToolMessage):
        if last.name == "refund":
            return AIMessage("Done: the money is on its way back to you. It takes two working days.")
        return AIMessage("I found it: two lamps, shipped on 24 November. What can I do for you?")
    text = str(last.content).lower()
    if "refund" in text or "back" in text:
        call = {"name": "refund", "args": {"number": 4711, "amount": "89.90"}, "id": f"call_{len(messages)}"}
        return AIMessage("One of them is broken, I am sorry to hear that. I will pay you back.", tool_calls=[call])
    if "order" in text or "lamp" in text:
        call = {"name": "find_order", "args": {"number": 4711}, "id": f"call_{len(messages)}"}
        return AIMessage("", tool_calls=[call])
    return AIMessage("Hello! How can I help?")


def support_agent(saver: Any) -> Any:
    """An agent that asks a person before it pays."""
    return create_agent(
        FakeModel(),
        [find_order, refund],
        system_prompt="You are the support of a lamp shop.",
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"refund": True})],
        state_schema=SupportState,
        checkpointer=saver,
    )


def config_of(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


@contextmanager
def open_saver(place: str, key: Key) -> Iterator[EncryptedSaver]:
    with closing(sqlite3.connect(place, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.setup()
        yield EncryptedSaver(saver, key)


def write_support(place: str, key: Key) -> None:
    """Fills a database: a thread that waits at an interrupt, one with a fork, some more of two tenants, a store."""
    with open_saver(place, key) as saver:
        agent = support_agent(saver)
        with encryption_context(tenant_id="globex"):
            for number in range(3):
                agent.invoke({"messages": [HumanMessage("Hi there")]}, config_of(f"chat-{2041 + number}"))
        with encryption_context(tenant_id="acme"):
            _forked(agent, config_of("support-1007"))
            order = Order(4711, decimal.Decimal("89.90"), datetime.date(2026, 11, 24))
            config = config_of("support-1008")
            agent.invoke({"messages": [HumanMessage("Where is my order?", name="Ann")], "order": order}, config)
            agent.invoke({"messages": [HumanMessage("One lamp came broken. I want my money back.", name="Ann")]}, config)
    with closing(sqlite3.connect(place, check_same_thread=False, isolation_level=None)) as connection:
        inner = SqliteStore(connection)
        inner.setup()
        store = EncryptedStore(inner, key)
        with encryption_context(tenant_id="acme"):
            store.put(("users", "ann"), "profile", {"name": "Ann", "mail": "ann@example.org", "likes": ["lamps", "paper"]})
            store.put(("users", "ann"), "notes", {"text": "Prefers answers in short sentences."})
            store.put(("users", "bob"), "profile", {"name": "Bob", "since": 2019})


def _forked(agent: Any, config: dict[str, Any]) -> None:
    agent.invoke({"messages": [HumanMessage("Where is my order?")]}, config)
    first = next(state for state in agent.get_state_history(config) if state.next == ("model",))
    agent.invoke({"messages": [HumanMessage("I want a refund for the lamp")]}, config)
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    other = agent.update_state(first.config, {"messages": [HumanMessage("And what does a lamp cost?")]})
    agent.invoke(None, other)

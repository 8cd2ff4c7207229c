"""Deleting rows and putting an older database back, without an anchor and with one. Runs offline, in some seconds.

An agent asks before it pays. Somebody who can write the database, and has no key, tries to make it pay twice, or to make it
forget. Nothing that was sealed has to be opened or forged for that: rows are only taken away, or put back.

    python examples/rollback.py
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from encrypted_serde import EncryptedSaver, Incomplete, Key, SqliteAnchor

THREAD: Any = {"configurable": {"thread_id": "order-17"}}


class Order(TypedDict, total=False):
    amount: int
    approved: bool
    paid: bool
    mailed: bool


class Shop:
    """The agent, its database in one directory, and the anchor in another one that the intruder cannot reach."""

    def __init__(self, directory: Path, key: Key, *, with_anchor: bool) -> None:
        self.payments: list[int] = []
        self.mail_works = False
        self.database = directory / "checkpoints.db"
        self.connection = sqlite3.connect(self.database, check_same_thread=False)
        anchor = SqliteAnchor(directory / "anchor.db")
        anchor.setup()
        saver = EncryptedSaver(SqliteSaver(self.connection), key, anchor=anchor if with_anchor else None)
        builder = StateGraph(Order)
        builder.add_node("ask", lambda state: {"approved": interrupt(f"pay {state['amount']}?")})
        builder.add_node("pay", self._pay)
        builder.add_node("mail", self._mail)
        builder.add_edge(START, "ask")
        builder.add_edge("ask", "pay")
        builder.add_edge("ask", "mail")
        builder.add_edge("pay", END)
        self.graph = builder.compile(checkpointer=saver)

    def _pay(self, state: Order) -> dict[str, Any]:
        self.payments.append(state["amount"])
        return {"paid": True}

    def _mail(self, state: Order) -> dict[str, Any]:
        if not self.mail_works:
            raise ConnectionError("the mail server is down")
        return {"mailed": True}

    def run(self) -> None:
        """Asks, is answered, pays; the mail beside it fails, so the step is to be finished later."""
        self.graph.invoke({"amount": 100}, THREAD)
        try:
            self.graph.invoke(Command(resume=True), THREAD)
        except ConnectionError:
            self.mail_works = True

    def finish(self) -> None:
        """Goes on where it stopped: the mail is sent, the payment is in the pending writes and not made again."""
        self.graph.invoke(None, THREAD)

    def history(self) -> int:
        return len(list(self.graph.get_state_history(THREAD)))

    def sql(self, statement: str) -> None:
        self.connection.execute(statement)
        self.connection.commit()


_NEWEST = "(SELECT max(checkpoint_id) FROM checkpoints)"
_MIDDLE = "(SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id LIMIT 1 OFFSET 1)"


def truncate(shop: Shop) -> None:
    shop.sql(f"DELETE FROM writes WHERE checkpoint_id = {_NEWEST}")
    shop.sql(f"DELETE FROM checkpoints WHERE checkpoint_id = {_NEWEST}")


def delete_in_the_middle(shop: Shop) -> None:
    shop.sql(f"DELETE FROM checkpoints WHERE checkpoint_id = {_MIDDLE}")


def forget_the_payment(shop: Shop) -> None:
    paid = "SELECT checkpoint_id, task_id FROM writes WHERE channel = 'paid'"
    shop.sql(f"DELETE FROM writes WHERE (checkpoint_id, task_id) IN ({paid})")


def put_an_older_file_back(shop: Shop) -> None:
    older = sqlite3.connect(shop.database.with_name("older.db"))
    older.backup(shop.connection)
    older.close()


def keep_a_copy(shop: Shop) -> None:
    copy = sqlite3.connect(shop.database.with_name("older.db"))
    shop.connection.backup(copy)
    copy.close()


def attempt(edit: Callable[[Shop], None], then: Callable[[Shop], Any], *, with_anchor: bool) -> str:
    """Lets the agent work, edits its database, and says what comes of it."""
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(Path(directory), Key.generate(), with_anchor=with_anchor)
        if edit is put_an_older_file_back:
            shop.graph.invoke({"amount": 50}, THREAD)
            keep_a_copy(shop)
        shop.run()
        edit(shop)
        try:
            then(shop)
            outcome = f"accepted, paid {len(shop.payments)} times" if then is Shop.finish else "accepted"
        except Incomplete as error:
            outcome = f"refused: {error.args[0]}"
        shop.connection.close()
        return outcome


def main() -> None:
    attempts = [
        ("the newest checkpoint deleted", truncate, Shop.finish),
        ("a checkpoint in the middle deleted", delete_in_the_middle, Shop.history),
        ("an older file put back", put_an_older_file_back, Shop.history),
        ("the write of a payment deleted", forget_the_payment, Shop.finish),
        ("nothing", lambda shop: None, Shop.finish),
    ]
    for what, edit, then in attempts:
        print(what)
        print("  without an anchor:", attempt(edit, then, with_anchor=False))
        print("  with an anchor:   ", attempt(edit, then, with_anchor=True))


if __name__ == "__main__":
    main()

"""Talks to the server as two tenants, and looks into the database.

python talk.py [URL]
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable
from contextlib import closing
from typing import Any

from langgraph_sdk import get_client
from langgraph_sdk.errors import APIStatusError

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:2024"
SECRET = "My account is DE89370400440532013000"


async def status(call: Awaitable[Any]) -> int:
    """Gives the HTTP status of an answer."""
    try:
        await call
    except APIStatusError as error:
        return error.response.status_code
    return 200


async def main() -> None:
    async with get_client(url=URL, headers={"Authorization": "Bearer alice@acme"}) as alice:
        thread = await alice.threads.create(metadata={"subject": "my account"})
        state = await alice.runs.wait(thread["thread_id"], "agent", input={"messages": [("human", SECRET)]})
        print("alice reads:", [message["content"] for message in state["messages"]])
        print("            ", (await alice.threads.get(thread["thread_id"]))["metadata"])
    async with get_client(url=URL, headers={"Authorization": "Bearer bob@globex"}) as bob:
        print("bob finds:  ", await bob.threads.search())
        print("bob reads:  ", await status(bob.threads.get_state(thread["thread_id"])))
    with closing(sqlite3.connect("checkpoints.sqlite")) as connection:
        rows = connection.execute("SELECT checkpoint, metadata FROM checkpoints").fetchall()
    print(f"the disk:    {len(rows)} checkpoints; the account number is in one of them: {'DE8937' in str(rows)}")


asyncio.run(main())

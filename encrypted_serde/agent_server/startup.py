"""Checks at start-up: that the server calls the handlers at all, and that handlers and checkpointer have the same keys.

``langgraph dev`` ignores ``"encryption"`` in ``langgraph.json`` without a word and stores everything in plaintext. Nothing in
the handlers can notice that they are not called, so something else has to. And the server loads every file that
``langgraph.json`` names under a module name of its own: a keyring that is built in one of them exists a second time as soon as
another one imports that file by its usual name.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from langgraph_sdk import get_client

from ..core.keys import KeyProvider, Keyring
from ..errors import ConfigurationError

handler_calls: Counter[str] = Counter()
"""How often each handler was called in this process: ``encrypt.json``, ``decrypt.json``, ``encrypt.blob``, ``decrypt.blob``,
``context``. The server loads the module that makes the handlers under a name of its own, so they are counted here."""


class Surface(NamedTuple):
    """What one of the two, handlers or checkpointer, was built with.

    Attributes:
        keys: Its key provider.
        required_context: Names that a context must have to be written under.
    """

    keys: KeyProvider
    required_context: frozenset[str]


surfaces: dict[str, Surface] = {}
"""What the ``handlers`` and the ``checkpointer`` of this process were built with last."""

TOKEN = "__es1__"  # noqa: S105
"""Name of the token beside the pairs of a context, as the server carries it. No pair can have it: names begin with a letter."""

PROBE: Mapping[str, str] = MappingProxyType({TOKEN: f"start-up check {os.urandom(16).hex()}"})
"""The encryption context of the check's own request. Nobody outside this process knows it."""

_DATA = {"purpose": "encrypted-serde start-up check"}

_NOT_CALLED = (
    "the encryption handlers are not called: set LANGGRAPH_ENCRYPTION='{\"path\": \"./encryption.py:encryption\"}' in the "
    "environment or under \"env\" in langgraph.json; langgraph dev ignores \"encryption\" there"
)  # fmt: skip
_TWO_KEYRINGS = (
    "make_encryption and encrypted_saver were given two key providers. Build one in a module that langgraph.json does not "
    "name, and import it from there in both (see docs/agent-server.md): the server loads what it names a second time"
)
_TWO_REQUIREMENTS = "make_encryption and encrypted_saver were given different required_context: say the same to both"


def is_probe(metadata: Mapping[str, Any], data: Mapping[str, Any] | None = None) -> bool:
    """Says whether a context is that of the check, and the data, if given, nothing but what the check writes."""
    return metadata == PROBE and (data is None or data.items() <= _DATA.items())


@asynccontextmanager
async def startup_check(app: object) -> AsyncIterator[None]:
    """Keeps the server from starting if its handlers are not called, or have other keys than its checkpointer.

    It is a lifespan: ``app = Starlette(lifespan=startup_check)``, named by ``"http": {"app": ...}`` in ``langgraph.json``. It
    creates a thread through the server's own API, with one constant line of metadata that the handlers know and pass on as it
    is, and deletes it again. No key is used, so it needs no user and no tenant.

    Args:
        app: The application; not used.

    Raises:
        ConfigurationError: If the handlers are not called, or differ from the checkpointer.
    """
    check_surfaces()
    before = handler_calls["encrypt.json"]
    header = base64.b64encode(json.dumps(dict(PROBE)).encode()).decode()
    async with get_client(url=None, headers={"X-Encryption-Context": header}) as client:
        thread = await client.threads.create(metadata=_DATA)
        await client.threads.delete(thread["thread_id"])
    if handler_calls["encrypt.json"] == before:
        raise ConfigurationError(_NOT_CALLED)
    yield


def check_surfaces() -> None:
    """Compares what handlers and checkpointer were built with, where both were.

    Raises:
        ConfigurationError: If they have other keys, or require other names of a context. Two `Keyring` objects with the same
            keys are the same; of any other provider both must have the same object.
    """
    handlers, checkpointer = surfaces.get("handlers"), surfaces.get("checkpointer")
    if handlers is None or checkpointer is None:
        return
    if not _same(handlers.keys, checkpointer.keys):
        raise ConfigurationError(_TWO_KEYRINGS)
    if handlers.required_context != checkpointer.required_context:
        raise ConfigurationError(_TWO_REQUIREMENTS)


def _same(one: KeyProvider, other: KeyProvider) -> bool:
    if isinstance(one, Keyring) and isinstance(other, Keyring):
        return one.primary == other.primary and {*one.search_keys({})} == {*other.search_keys({})}
    return one is other

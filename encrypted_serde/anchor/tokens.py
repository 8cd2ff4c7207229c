"""The names of threads, namespaces and tasks in an anchor: HMACs under a key derived from the one that data is sealed with.

Whoever reads an anchor sees how many threads there are and how busy each is, and not which. After a rotation new entries get
tokens of the new key, and old ones are found under the old keys for as long as the provider names them (`search_keys`).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from ..core.encoding import lp
from ..core.keys import Key, KeyProvider, Keyring, SearchKeyProvider
from ..core.opaque import opaque
from ..errors import ConfigurationError

THREAD_SIZE = 16
SHORT_SIZE = 8
"""Bytes of the tokens that only have to differ within one thread."""

_NO_CONTEXT: Mapping[str, str] = MappingProxyType({})


class PlaceTokens(NamedTuple):
    """One key's names for a thread and a namespace.

    Attributes:
        thread: 16 bytes.
        namespace: 8 bytes.
        secret: What the tokens of its tasks are made with.
    """

    thread: bytes
    namespace: bytes
    secret: bytes

    def __repr__(self) -> str:
        return opaque(self)

    def task(self, checkpoint_id: str, task_id: str) -> bytes:
        """Gives the token of a task: another one for each checkpoint."""
        message = b"".join((b"task", self.thread, self.namespace, lp(_raw(checkpoint_id)), _raw(task_id)))
        return hmac.digest(self.secret, message, "sha256")[:SHORT_SIZE]


class Tokens:
    """Makes the tokens of one provider's keys.

    Args:
        keys: Must have `search_keys`, as `Keyring` has: after a rotation the entries of before must be found.

    Raises:
        ConfigurationError: If it has not.
    """

    def __init__(self, keys: KeyProvider) -> None:
        if not isinstance(keys, SearchKeyProvider):
            raise ConfigurationError(
                f"an anchor needs keys that can be searched for: {type(keys).__name__} has no search_keys(); use a Keyring"
            )
        self._keys = keys
        self._of_all = lru_cache(maxsize=4096)(self._of) if _never_changes(keys) else None

    def of(self, thread_id: str, checkpoint_ns: str, context: Mapping[str, str]) -> Sequence[PlaceTokens]:
        """Gives the names of a place under every key, that of the key to write with first."""
        return self._of_all(thread_id, checkpoint_ns) if self._of_all else self._of(thread_id, checkpoint_ns, context)

    def _of(self, thread_id: str, checkpoint_ns: str, context: Mapping[str, str] = _NO_CONTEXT) -> Sequence[PlaceTokens]:
        return [_place(_secret(key), thread_id, checkpoint_ns) for key in self._keys.search_keys(context)]


def _never_changes(keys: object) -> bool:
    return type(keys) is Keyring


@lru_cache(maxsize=256)
def _secret(key: Key) -> bytes:
    return key.derive("anchor")


@lru_cache(maxsize=4096)
def _place(secret: bytes, thread_id: str, checkpoint_ns: str) -> PlaceTokens:
    thread = _mac(secret, b"thread", _raw(thread_id))[:THREAD_SIZE]
    return PlaceTokens(thread, _mac(secret, b"namespace", thread, _raw(checkpoint_ns))[:SHORT_SIZE], secret)


def _mac(secret: bytes, *fields: bytes) -> bytes:
    return hmac.digest(secret, b"".join([lp(field) for field in fields]), "sha256")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

"""The names of threads, namespaces and tasks in an anchor: HMACs under the anchor's own secret.

Somebody who reads an anchor sees how many threads there are and how busy each is, and not which. The secret is drawn once and
never changes, so one place has one name for ever, whatever happens to the keys that data is sealed with. The anchor keeps it,
sealed under the primary key; the first process with another primary key adds a copy under that one (rule A-2).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from ..core import binding
from ..core.context import NO_CONTEXT
from ..core.encoding import lp
from ..core.format import Sealed
from ..core.keys import KeyProvider
from ..core.sealer import Sealer
from ..errors import AnchorError, EncryptedSerdeError, KeyErased, UnknownKey
from .entries import ABOUT_ITSELF, Anchor, Entry, Kind

THREAD_SIZE = 16
SHORT_SIZE = 8
"""Bytes of the tokens that only have to differ within one thread, and of the id of a secret."""

_SECRET_SIZE = 32


class Spot(NamedTuple):
    """One checkpoint.

    Attributes:
        namespace: Token of its namespace.
        checkpoint: Its id in bytes.
    """

    namespace: bytes
    checkpoint: bytes


class Names:
    """Makes tokens.

    Args:
        secret: The anchor's own.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.thread = lru_cache(maxsize=4096)(self._thread)
        self.namespace = lru_cache(maxsize=4096)(self._namespace)

    def _thread(self, thread_id: str) -> bytes:
        """Returns the token of a thread."""
        return self._mac(THREAD_SIZE, b"thread", _raw(thread_id))

    def _namespace(self, thread_id: str, checkpoint_ns: str) -> bytes:
        """Returns the token of a namespace: another one in each thread."""
        return self._mac(SHORT_SIZE, b"namespace", self.thread(thread_id), _raw(checkpoint_ns))

    def task(self, spot: Spot, task_id: str) -> bytes:
        """Returns the token of a task: another one for each checkpoint."""
        return hmac.digest(self._secret, b"task" + lp(spot.namespace + spot.checkpoint) + _raw(task_id), "sha256")[:SHORT_SIZE]

    def _mac(self, size: int, *fields: bytes) -> bytes:
        return hmac.digest(self._secret, b"".join([lp(field) for field in fields]), "sha256")[:size]


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def open_names(anchor: Anchor, keys: KeyProvider, *, draw: bool) -> Names:
    """Opens the secret of an anchor.

    Args:
        anchor: The anchor.
        keys: What the secret is sealed with.
        draw: Whether to draw a secret if the anchor has no entry at all.

    Raises:
        AnchorError: If there is no secret, or no copy of it is under a key in the keyring.
    """
    copies = _copies(anchor)
    if not copies:
        if not draw or anchor.threads():
            raise AnchorError("the anchor has no secret: begin it with encrypted-serde anchor init", retryable=False)
        _append(anchor, keys, os.urandom(_SECRET_SIZE))
        copies = _copies(anchor)  # another process may have been first: the first secret is the anchor's
    return Names(_opened(copies, keys))


def reseal(anchor: Anchor, keys: KeyProvider) -> bool:
    """Adds a copy of an anchor's secret under the primary key, if it has none.

    Returns:
        Whether one was added.

    Raises:
        AnchorError: If no copy is under a key in the keyring, or the anchor cannot be written to.
    """
    copies = _copies(anchor)
    with _telling():
        primary = keys.encryption_key(NO_CONTEXT.pairs).id
    if any(copy.head.key_id == primary for copy in copies):
        return False
    _append(anchor, keys, _opened(copies, keys))
    return True


def _copies(anchor: Anchor) -> list[Sealed]:
    """Returns the copies of the secret that was drawn first, oldest first."""
    found = sorted((each for each in anchor.entries(ABOUT_ITSELF) if each.kind == Kind.SECRET), key=lambda each: each.number)
    try:
        return [Sealed.of_bytes(each.batch) for each in found if each.task == found[0].task]
    except EncryptedSerdeError as error:
        raise AnchorError(f"the anchor's secret is damaged: {error}", retryable=False) from None


def _append(anchor: Anchor, keys: KeyProvider, secret: bytes) -> None:
    with _telling():
        sealed = Sealer(keys).seal_bound("bytes", secret, binding.ANCHOR, context=NO_CONTEXT)
    anchor.append([Entry(ABOUT_ITSELF, b"", b"", Kind.SECRET, sha256(secret).digest()[:SHORT_SIZE], sealed)])


def _opened(copies: list[Sealed], keys: KeyProvider) -> bytes:
    for copy in copies:
        try:
            with _telling():
                return Sealer(keys).open_bound(copy, binding.ANCHOR, context=NO_CONTEXT).plaintext
        except (UnknownKey, KeyErased):
            continue
    ids = ", ".join(sorted({copy.head.key_id.hex()[:12] for copy in copies}))
    raise AnchorError(
        f"the anchor's secret is sealed under {ids or 'no key'}, and the keyring holds none of these: it is the anchor of "
        "another database, or a key was removed too early. With the old key at hand, encrypted-serde anchor rekey mends it",
        retryable=False,
    )


@contextmanager
def _telling() -> Iterator[None]:
    """Turns what a key provider says into an `AnchorError`, but for a key that it does not have."""
    try:
        yield
    except (UnknownKey, KeyErased):
        raise
    except EncryptedSerdeError as error:
        retryable = bool(getattr(error, "retryable", False))
        raise AnchorError(f"the anchor's secret: {error} (has the anchor keys= of its own?)", retryable=retryable) from None

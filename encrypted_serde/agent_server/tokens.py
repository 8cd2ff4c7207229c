"""Tokens: what shows that a context was given by the context handler, where the server carries it through rows and calls.

Within the process that serves a request no token is asked for: the handler's answer is remembered there. But a queued run, a
cron and a call over gRPC bring the context from a row, and a row cannot say who wrote it. So the context is carried with a
token: a short text, sealed under exactly this context, that says what it is for and when it was issued. Only somebody with the
key can make one, it opens no longer when that key is erased, and it says nothing that the context beside it does not say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from ..core.binding import CONTEXT
from ..core.context import EncryptionContext
from ..core.format import find_sealed, sealed_text
from ..core.keys import KeyProvider
from ..core.sealer import Sealer
from ..errors import EncryptedSerdeError, KeyServiceError, WrongContext

REQUEST, RUN, CRON = "request", "run", "cron"
"""What a token is for."""

_DAY = 24 * 60 * 60

TO_WORK: Mapping[str, int] = MappingProxyType({REQUEST: _DAY, RUN: 7 * _DAY})
"""Largest age in seconds of each token that is accepted for reading and writing."""

TO_MAKE_RUNS: Mapping[str, int] = MappingProxyType({REQUEST: 400 * _DAY, RUN: 7 * _DAY, CRON: 400 * _DAY})
"""The same for making a run, as a cron does. What a cron carries may be the token of the request that made it."""

_INNER_TYPE = "context"


class UntrustedContext(WrongContext):
    """The encryption context of a request was not given by the context handler, or lacks a name that it must have."""


class Tokens:
    """Issues tokens and checks them. May ask a key service: call it off the event loop.

    Args:
        keys: Under which tokens are sealed.
    """

    def __init__(self, keys: KeyProvider) -> None:
        self._sealer = Sealer(keys)  # tokens are no data, and leave no trace in the audit

    def issue(self, purpose: str, context: EncryptionContext) -> str:
        """Makes a token for a context.

        Raises:
            EncryptedSerdeError: If the key cannot be had.
        """
        content = f"{purpose} {int(time.time())}".encode()
        return sealed_text(self._sealer.seal_bound(_INNER_TYPE, content, CONTEXT, context=context))

    def check(self, token: object, context: EncryptionContext, ages: Mapping[str, int]) -> None:
        """Refuses whatever is no token of this context, for one of these purposes, that is young enough.

        Raises:
            UntrustedContext: If it is not.
            KeyServiceError: If its key cannot be had now.
        """
        purpose, issued = self._opened(token, context)
        if purpose not in ages:
            raise UntrustedContext(f"the token of this encryption context is for a {purpose}, and this is none")
        if time.time() - issued > ages[purpose]:
            raise UntrustedContext(f"the token of this encryption context, which is for a {purpose}, is too old")

    def _opened(self, token: object, context: EncryptionContext) -> tuple[str, int]:
        try:
            if not isinstance(token, str) or (sealed := find_sealed(token)) is None:
                raise UntrustedContext("the encryption context of this request was not given by context_from_user")
            content = self._sealer.open_bound(sealed, CONTEXT, context=context).plaintext
            purpose, _, issued = content.decode().partition(" ")
            return purpose, int(issued)
        except (KeyServiceError, UntrustedContext):
            raise
        except (EncryptedSerdeError, ValueError) as error:
            raise UntrustedContext(f"the encryption context does not match its token ({type(error).__name__})") from None

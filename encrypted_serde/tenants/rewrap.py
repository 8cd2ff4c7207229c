"""Wrapping the keys of all tenants anew: every key that is there, and no failure that ends it for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..core.context import EncryptionContext
from ..errors import EncryptedSerdeError, KeyServiceError
from .records import StoredKey, tenant_of
from .store import ListedKeys

_SHOWN = 3


class Rewrapping:
    """Counts what was wrapped anew, and what failed.

    Args:
        rewrap: Wraps one key of one tenant anew. Returns False if it was erased meanwhile.
    """

    def __init__(self, rewrap: Callable[[EncryptionContext, StoredKey], bool]) -> None:
        self._rewrap = rewrap
        self._done = 0
        self._failed: Counter[str] = Counter()
        self._may_help = False

    def tenant(self, listed: ListedKeys) -> None:
        """Wraps the keys of one tenant anew."""
        self._failed.update(listed.problems)
        if listed.context is not None:
            for stored in tenant_of(listed.records).live.values():
                self._one(listed.context, stored)

    def _one(self, context: EncryptionContext, stored: StoredKey) -> None:
        try:
            self._done += self._rewrap(context, stored)
        except EncryptedSerdeError as error:
            self._failed[str(error)] += 1
            self._may_help |= isinstance(error, KeyServiceError) and error.retryable

    def finish(self) -> int:
        """Returns how many keys were wrapped anew.

        Raises:
            KeyServiceError: If there was a failure.
        """
        if not self._failed:
            return self._done
        first = "; ".join(f"{number} x {problem}" for problem, number in self._failed.most_common(_SHOWN))
        more = "; and others" if len(self._failed) > _SHOWN else ""
        raise KeyServiceError(
            f"{self._done} keys were wrapped anew, and {self._failed.total()} were not, so the old key is still needed: "
            f"{first}{more}",
            retryable=self._may_help,
        )

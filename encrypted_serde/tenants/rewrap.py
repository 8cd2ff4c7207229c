"""Wrapping the keys of all tenants anew: every key that is there, and no failure that ends it for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from ..core.context import EncryptionContext
from ..errors import EncryptedSerdeError, KeyServiceError
from .records import StoredKey, tenant_of
from .store import ListedKeys

_SHOWN = 3


def rewrap_all(tenants: Iterable[ListedKeys], rewrap: Callable[[EncryptionContext, StoredKey], bool]) -> int:
    """Wraps the keys of tenants anew, and returns how many.

    Args:
        tenants: The tenants.
        rewrap: Wraps one key of one tenant anew. Returns False if it was erased meanwhile.

    Raises:
        KeyServiceError: If there was a failure. All that could be done is.
    """
    done, may_help, failed = 0, False, Counter[str]()
    for tenant in tenants:
        failed.update(tenant.problems)
        for stored in tenant_of(tenant.records).live.values():
            try:
                done += rewrap(tenant.records[0].context, stored)
            except EncryptedSerdeError as error:
                failed[str(error)] += 1
                may_help |= isinstance(error, KeyServiceError) and error.retryable
    if not failed:
        return done
    first = "; ".join(f"{number} x {problem}" for problem, number in failed.most_common(_SHOWN))
    more = "; and others" if len(failed) > _SHOWN else ""
    raise KeyServiceError(
        f"{done} keys were wrapped anew, and {failed.total()} were not, so the old key is still needed: {first}{more}",
        retryable=may_help,
    )

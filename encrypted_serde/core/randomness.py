"""Random bytes for nonces, straight from the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable

AT_ONCE = 256
"""Bytes that the kernel gives in one piece (getrandom(2)); `random_bytes` is asked for no more."""


def _kernel_generator() -> Callable[[int], bytes]:
    # Both ask the same generator. os.urandom gives up the interpreter lock meanwhile and then queues for it behind the
    # busy threads of the process. os.getrandom (Linux) keeps the lock.
    getrandom: Callable[[int], bytes] | None = getattr(os, "getrandom", None)
    if getrandom is None:
        return os.urandom
    try:
        getrandom(1)
    except OSError:  # a sandbox that does not let it through
        return os.urandom
    return getrandom


random_bytes = _kernel_generator()
"""Returns up to 256 random bytes, safe after a fork."""

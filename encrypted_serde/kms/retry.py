"""Trying a call again, for services whose client does not."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import KeyServiceError

T = TypeVar("T")

ATTEMPTS = 3
"""How often a call is made in all while the service throttles or fails to answer."""

_PAUSE = 0.1  # seconds before the second attempt, doubled for the third; half of it is random


def repeated(call: Callable[[], T]) -> T:
    """Makes a call up to three times, while what it raises says that a retry may help."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except KeyServiceError as error:
            if not error.retryable:
                raise
        time.sleep(_PAUSE * attempt * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, protects nothing
    return call()

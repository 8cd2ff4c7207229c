"""JSON columns: read and written so that whatever is stored there becomes an error of ours."""

from __future__ import annotations

import json
from typing import Any

from ..errors import MalformedEnvelope
from .report import Unconvertible


def parse_json(cell: str | bytes | None) -> Any:
    """Reads a JSON column.

    Raises:
        MalformedEnvelope: If it is no JSON.
    """
    try:
        return {} if cell is None else json.loads(cell)
    except (ValueError, RecursionError):
        raise MalformedEnvelope("a column that should hold JSON does not") from None


def as_json(value: Any) -> str:
    """Writes a JSON column.

    Raises:
        Unconvertible: If JSON cannot express it.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise Unconvertible("something in it cannot be expressed in JSON") from None

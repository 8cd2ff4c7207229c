"""When two JSON values are equal, in whatever form they were written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def json_form(value: Any) -> tuple[str, Any]:
    """Returns the normal form by which JSON values are equal: numbers by their decimal value, bool apart from numbers.

    What JSON cannot hold has the text that describes it; infinity and NaN are null, as JSON encoders write them.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "null", None
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, (int, float)):
        return "number", Decimal(int(value)) if isinstance(value, int) else Decimal(repr(float(value)))
    if isinstance(value, str):
        return "text", value
    if isinstance(value, (list, tuple)):
        return "list", [json_form(part) for part in value]
    if isinstance(value, Mapping):
        return "object", {_json_name(name): json_form(part) for name, part in value.items()}
    return "text", describe(value)


_CONTAINERS = (list, tuple, Mapping)


def equal_as_json(one: Any, other: Any) -> bool:
    """Says whether two values have one normal form. Looks no deeper than the shallower of them."""
    waiting = [(one, other)]
    while waiting:
        one, other = waiting.pop()
        if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            if len(one) != len(other):
                return False
            waiting += zip(one, other, strict=True)
        elif isinstance(one, Mapping) and isinstance(other, Mapping):
            parts = {_json_name(name): part for name, part in other.items()}
            named = {_json_name(name): part for name, part in one.items()}
            if named.keys() != parts.keys():
                return False
            waiting += [(part, parts[name]) for name, part in named.items()]
        elif (
            isinstance(one, (list, tuple, Mapping))
            or isinstance(other, (list, tuple, Mapping))
            or json_form(one) != json_form(other)
        ):
            return False
    return True


def _json_name(name: Any) -> str:
    return name if isinstance(name, str) else json.dumps(name, default=describe)


def describe(value: Any) -> str:
    """Returns the text by which a store describes a value that JSON cannot hold."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)

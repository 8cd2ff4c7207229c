"""What a look returned, as types that JSON knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from .values import Binary, Fields, Object, Opaque, Scalar, Sequence, as_json


def to_document(found: Any) -> Any:
    """Returns what a view returned, for ``json.dumps``: data classes by their attributes, values as `as_json` has them."""
    if isinstance(found, (Scalar, Binary, Sequence, Fields, Object, Opaque)):
        return as_json(found)
    if is_dataclass(found):
        return {field.name: to_document(getattr(found, field.name)) for field in fields(found)}
    if isinstance(found, Mapping):
        return {name: to_document(part) for name, part in found.items()}
    return [to_document(part) for part in found] if isinstance(found, (list, tuple)) else found

"""Looking into what the server stored."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from encrypted_serde.core.format import find_sealed


def is_sealed(value: Any) -> bool:
    return isinstance(value, str) and find_sealed(value) is not None


def tenant_of(value: str | bytes) -> str | None:
    """Reads the tenant in the header of sealed text or bytes."""
    found = find_sealed(value)
    assert found is not None
    return found.head.context.pairs.get("tenant_id")


def context_header(context: Mapping[str, Any]) -> dict[str, str]:
    """Makes the header by which a client names an encryption context."""
    return {"X-Encryption-Context": base64.b64encode(json.dumps(context).encode()).decode()}

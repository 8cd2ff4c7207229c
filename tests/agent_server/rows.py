"""Looking into what the server stored."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from encrypted_serde.core.envelope import parse_header, parse_sealed, parse_sealed_text


def is_sealed(value: Any) -> bool:
    return isinstance(value, str) and parse_sealed_text(value) is not None


def tenant_of(value: str | bytes) -> str | None:
    """Reads the tenant in the header of sealed text or bytes."""
    data = parse_sealed_text(value) if isinstance(value, str) else value
    assert data is not None
    parsed = parse_sealed(data)
    assert parsed is not None
    return parse_header(data, parsed[1]).context.pairs.get("tenant_id")


def context_header(context: Mapping[str, Any]) -> dict[str, str]:
    """Makes the header by which a client names an encryption context."""
    return {"X-Encryption-Context": base64.b64encode(json.dumps(context).encode()).decode()}

"""What a wrapper says of itself, in its ``repr`` and on a health page. Nothing of it is secret; no key service is asked."""

from __future__ import annotations

from typing import Any

from ..audit import AuditedSealer, Sealing
from ..core.keys import Keyring
from .admission import Admission


def description(sealer: Sealing, admission: Admission) -> dict[str, Any]:
    """Describes how a wrapper writes and what it admits, in types that JSON knows.

    Returns:
        ``cipher``, ``compression`` (or None), ``keys`` (the class of the provider), ``key_id`` (that of a `Keyring`'s primary
        key, in hex; None for providers that would have to be asked), ``decrypt_only`` (how many keys a `Keyring` only reads),
        ``required_context``, ``require_context_to_read``, ``audit`` (whether there is a listener), ``switches`` (those that
        are on), ``admitted`` (how many values of each kind they let through) and ``passed_over`` (how many rows
        lists left out).
    """
    keys = sealer.keys
    ring = keys if isinstance(keys, Keyring) else None
    return {
        "cipher": sealer.cipher,
        "compression": sealer.compression,
        "keys": type(keys).__name__,
        "key_id": ring.primary.id.hex() if ring else None,
        "decrypt_only": len(ring.search_keys({})) - 1 if ring else None,
        "required_context": sorted(sealer.required_context),
        "require_context_to_read": sealer.require_context_to_read,
        "audit": isinstance(sealer, AuditedSealer),
        "switches": switches(admission),
        "admitted": dict(admission.admitted),
        "passed_over": dict(admission.passed_over),
    }


def switches(admission: Admission) -> list[str]:
    """Names the switches for moving in that are on, as a user spells them."""
    named = (
        ("allow_plaintext", admission.plaintext),
        ("allow_unbound", admission.unbound),
        ("legacy_keys", bool(admission.legacy)),
    )
    return [name for name, is_on in named if is_on]


def summary(sealer: Sealing, admission: Admission) -> str:
    """Returns the same in a few words, for a ``repr``."""
    described = description(sealer, admission)
    key = f" {described['key_id'][:12]}" if described["key_id"] else ""
    cipher = "+".join(filter(None, (described["cipher"], described["compression"])))
    return ", ".join([cipher, f"{described['keys']}{key}", *(f"{name}=ON" for name in described["switches"])])

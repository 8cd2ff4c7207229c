"""What a wrapper says of itself in its ``repr``. Nothing of it is secret, and no key service is asked."""

from __future__ import annotations

from ..core.keys import Keyring
from ..core.sealer import Sealer
from .admission import Admission


def summary(sealer: Sealer, admission: Admission) -> str:
    """Says how a wrapper writes, with which keys, and which switches for moving in are on, as a user spells them."""
    keys = sealer.keys
    named = f"{type(keys).__name__} {keys.primary.id.hex()[:12]}" if isinstance(keys, Keyring) else type(keys).__name__
    switches = {
        "allow_plaintext": admission.plaintext,
        "allow_unbound": admission.unbound,
        "legacy_keys": bool(admission.legacy),
    }
    cipher = "+".join(filter(None, (sealer.cipher, sealer.compression)))
    return ", ".join([cipher, named, *(f"{name}=ON" for name, is_on in switches.items() if is_on)])

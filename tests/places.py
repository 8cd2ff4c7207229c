"""Places for values that belong to one, for tests that are not about which place it is."""

from __future__ import annotations

from encrypted_serde.core.binding import Binding
from encrypted_serde.core.claims import Claims
from encrypted_serde.core.encoding import lps
from encrypted_serde.core.format import Sealed


def at(*fields: str) -> Binding:
    """A place by the fields of its location, without claims."""
    return Binding(lps(fields))


def claiming(place: Binding, claims: Claims) -> Binding:
    """The same place with claims."""
    return Binding.of(place.location, claims)


def blob_of(sealed: bytes) -> tuple[str, bytes]:
    """Takes sealed bytes apart into type tag and blob."""
    parsed = Sealed.of_bytes(sealed)
    return parsed.head.type_tag, sealed[parsed.start :]

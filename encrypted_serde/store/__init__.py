"""`EncryptedStore`: long-term memory that nobody who has the database reads or moves."""

from .store import EncryptedStore

__all__ = ["EncryptedStore"]

"""What objects say of themselves: useful to an operator, and nothing that is secret."""

from __future__ import annotations

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key, Keyring, LocalKeyWrapper, TenantKeyring

OLD, NEW = Key.generate(), Key.generate()
RING = Keyring(primary=NEW, decrypt_only=[OLD])


def test_the_repr_of_a_serializer_names_cipher_key_and_compression() -> None:
    serde = EncryptedSerializer(RING, cipher="aes-256-gcm", compression="zstd")
    assert repr(serde) == f"<EncryptedSerializer aes-256-gcm+zstd, Keyring {NEW.id.hex()[:12]}>"


def test_the_repr_of_a_serializer_shouts_switches_that_are_on() -> None:
    serde = EncryptedSerializer(NEW, allow_plaintext=True, legacy_keys=[b"0123456789abcdef"])
    assert repr(serde).endswith("allow_plaintext=ON, legacy_keys=ON>")


def test_the_repr_of_a_serializer_asks_no_key_service() -> None:
    keys = TenantKeyring(InMemoryStore(), LocalKeyWrapper(OLD))
    assert repr(EncryptedSerializer(keys)) == "<EncryptedSerializer xaes-256-gcm, TenantKeyring>"


def test_the_repr_of_a_saver_names_what_it_wraps() -> None:
    saver = EncryptedSaver(InMemorySaver(), RING, allow_unbound=True)
    assert repr(saver) == f"<EncryptedSaver of InMemorySaver, xaes-256-gcm, Keyring {NEW.id.hex()[:12]}, allow_unbound=ON>"


def test_a_repr_holds_no_key_and_no_legacy_key() -> None:
    legacy = b"0123456789abcdef"
    shown = repr(EncryptedSaver(InMemorySaver(), RING, legacy_keys=[legacy], audit=lambda event: None))
    assert [secret for secret in (NEW.to_text(), OLD.to_text(), legacy.decode()) if secret in shown] == []
    assert shown.endswith("legacy_keys=ON>")

"""What objects say of themselves: useful to an operator, and nothing that is secret."""

from __future__ import annotations

from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSerializer, Key, Keyring, LocalKeyWrapper, TenantKeyring

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

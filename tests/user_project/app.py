"""What a user writes, checked by mypy and pyright against the installed wheel: py.typed and the lazy names must reach them."""

from __future__ import annotations

from langgraph.checkpoint.memory import InMemorySaver

import encrypted_serde
from encrypted_serde import (
    EncryptedSaver,
    EncryptedSerdeError,
    EncryptedSerializer,
    Key,
    KeyProvider,
    Keyring,
    LocalKeyWrapper,
    encryption_context,
)

old, new = Key.generate(), Key.generate()
keys: KeyProvider = Keyring(primary=new, decrypt_only=[old])
serde = EncryptedSerializer(keys, compression=None, required_context=("tenant_id",))
saver = EncryptedSaver(InMemorySaver(), keys)
wrapper_name: str = LocalKeyWrapper(old).name
version: str = encrypted_serde.__version__
key_id: bytes = new.id

with encryption_context(tenant_id="acme"):
    try:
        type_tag, blob = serde.dumps_typed({"hello": "world"})
    except EncryptedSerdeError as error:
        message: str = str(error)

# Mistakes that a type checker must find; it complains if it does not.
Key.from_bytes("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Keyring(old)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
_ = encrypted_serde.NoSuchName  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

"""Which edits mean nothing on a saver, because it has not what they change. They are left out there."""

from __future__ import annotations

from collections.abc import Mapping

_BESIDE_ROWS = {  # of documents that hold text beside values in rows of their own
    "plaintext behind a value",
    "None behind a value",
    "the mark of a snapshot behind a value",
    "a value of another channel behind a value",
    "what cannot be opened behind a value",
}
_PACKED_DOCUMENTS = {
    "bytes behind a document",
    "a document in an extension object",
    "a document in a snapshot",
    "a document in bytes",
    "a document is a packed None",
    "a key of the document twice",
}
_VALUES_IN_ROWS = {
    "a value packed once more",
    "a value packed as text",
    "a value is a packed None",
    "None is a packed None",
    "a snapshot packed once more",
}
_OLDER_CHECKPOINTS = {
    "an old row under a newer id",
    "a row deleted from the middle",
    "the first row deleted",
    "document of an old row",
    "metadata of an old row",
    "an old checkpoint with the newer id",
    "the first has a parent",
    "the id of the old row",
    "versions seen of the old row",
    *(f"old version of {channel}" for channel in ("note", "log", "nothing", "late")),
    "the manifest of old",
    "the step of the old row",
    "a snapshot unwrapped",
    "a snapshot in a snapshot",
    "a snapshot that is not listed",
    "a snapshot removed",
    "bytes behind a snapshot",
    "a value of the old version where the channel was not listed",
    *(f"{channel} of the old row" for channel in ("note", "log", "count", "late")),
}
_NO_BYTES = {
    f"{channel} is {value!r}"
    for channel in ("note", "count")
    for value in ("plaintext", "", "es1.", "es1.hello", 7, True, [], {"a": 1}, None)
}

_POSTGRES = _PACKED_DOCUMENTS | {"None is a packed None"}
_SHALLOW = _BESIDE_ROWS | _PACKED_DOCUMENTS | _OLDER_CHECKPOINTS | _NO_BYTES | {"a snapshot packed once more"}

ABSENT: Mapping[str, set[str]] = {
    "memory": _BESIDE_ROWS | _PACKED_DOCUMENTS,
    "sqlite": _BESIDE_ROWS | _VALUES_IN_ROWS,
    "postgres": _POSTGRES,
    "mariadb": _POSTGRES,
    "shallow-postgres": _SHALLOW,
    "shallow-mariadb": _SHALLOW,
}

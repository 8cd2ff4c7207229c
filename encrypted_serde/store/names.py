"""Under which names an item is stored in the inner store: its own, or pseudonyms.

A pseudonym is 26 characters of ``[a-z2-7]``: the first 16 bytes of HMAC-SHA256 of a label, under a key derived for the
encryption context, in base32. That of a label is the same wherever the label is, so prefixes, suffixes, ``*`` and
``max_depth`` go on to work in the database; that of a key belongs to its namespace. A reader of the database sees which
labels are equal, and how many there are; a writer who may also choose names can test guesses.

A name is a pseudonym under one key and one context. While there are several (rotation, `accept_contexts`), an item is looked
for under each of them, and written under the first.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar, cast

from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp

from ..core.bounded import Bounded
from ..core.context import EncryptionContext
from ..core.encoding import lp, lps, utf8
from ..core.keys import Key
from ..core.opaque import opaque
from ..wrapping.stored_item import DICTIONARY
from .tenancy import Tenancy

Namespace = tuple[str, ...]
AnyOp = TypeVar("AnyOp", bound=Op)

_PSEUDONYM = re.compile(r"[a-z2-7]{26}")
_SIZE = 16
REMEMBERED = 1 << 16
"""Names that a process remembers: bounded, since anybody may fill a database with names."""


class Place(NamedTuple):
    """Where an item is in the inner store."""

    namespace: Namespace
    key: str


def is_reserved(namespace: Sequence[str]) -> bool:
    """Says whether a namespace is one of the store's own."""
    return bool(namespace) and namespace[0] == DICTIONARY[0]


def is_pseudonym(label: str) -> bool:
    """Says whether a label has the form of a pseudonym."""
    return _PSEUDONYM.fullmatch(label) is not None


class Names:
    """Readable names: everything is stored where the caller says.

    Args:
        separator: What no label may have in it, since the store does not tell such labels from several.

    Attributes:
        pseudonymous: Whether names are replaced.
        hides_tenants: Whether no prefix but the empty one has items of several tenants.
    """

    pseudonymous = False
    hides_tenants = False

    def __init__(self, separator: str = "") -> None:
        self._separator = separator

    def places(self, namespace: Namespace, key: str, context: EncryptionContext | None) -> list[Place]:
        """Returns the places where an item may be stored, the one to write it to first.

        Raises:
            InvalidNamespaceError: If the store keeps there what is its own, or does not tell two namespaces apart.
        """
        if is_reserved(namespace):
            raise InvalidNamespaceError(f"the namespace {namespace!r} is reserved for what the store keeps for itself")
        return [Place(self.prefixes(namespace, context)[0], key)]

    def prefixes(self, prefix: Namespace, context: EncryptionContext | None) -> list[Namespace]:
        """Returns the prefixes in the inner store for one that a caller searches."""
        if self._separator and any(self._separator in label for label in prefix):
            raise InvalidNamespaceError(
                f"{prefix!r}: the inner store takes {self._separator!r} in a label for the end of the label; "
                "pseudonymous_names=True allows such labels"
            )
        return [prefix]

    def conditions(
        self, conditions: Sequence[MatchCondition] | None, context: EncryptionContext | None
    ) -> list[tuple[MatchCondition, ...]]:
        """Returns the conditions to list namespaces by in the inner store, each in place of those of the caller."""
        return [tuple(conditions or ())]


class Pseudonyms(Names):
    """Names of which the database sees pseudonyms.

    Args:
        tenancy: Knows the keys of pseudonyms.
        moving_in: Look under readable names too.
    """

    pseudonymous = True

    def __init__(self, tenancy: Tenancy, *, moving_in: bool) -> None:
        self._tenancy = tenancy
        self.moving_in = moving_in
        self.hides_tenants = not moving_in

    def places(self, namespace: Namespace, key: str, context: EncryptionContext | None) -> list[Place]:
        """As `Names.places`."""
        check_labels(namespace)
        found = [self._place(secret, namespace, key) for secret in self._secrets(context)]
        return [*found, Place(namespace, key)] if self.moving_in else found

    def prefixes(self, prefix: Namespace, context: EncryptionContext | None) -> list[Namespace]:
        """As `Names.prefixes`. Everything is under the empty one."""
        check_labels(prefix)
        if not prefix:
            return [()]
        found = [tuple(secret.label(label) for label in prefix) for secret in self._secrets(context)]
        return [*found, prefix] if self.moving_in else found

    def conditions(
        self, conditions: Sequence[MatchCondition] | None, context: EncryptionContext | None
    ) -> list[tuple[MatchCondition, ...]]:
        """As `Names.conditions`. A ``*`` stays one."""
        given = tuple(conditions or ())
        for condition in given:
            check_labels(condition.path)
        if not any(label != "*" for condition in given for label in condition.path):
            return [given]
        found = [
            tuple(
                condition._replace(path=tuple(label if label == "*" else secret.label(label) for label in condition.path))
                for condition in given
            )
            for secret in self._secrets(context)
        ]
        return [*found, given] if self.moving_in else found

    def labels(self, namespace: Namespace, context: EncryptionContext | None) -> dict[str, str]:
        """Returns the pseudonyms that the labels of a namespace are written under, and the labels."""
        secret = self._secrets(context)[0]
        return {secret.label(label): label for label in namespace}

    def _place(self, secret: _Secret, namespace: Namespace, key: str) -> Place:
        return Place(tuple(map(secret.label, namespace)), secret.key(namespace, key))

    def _secrets(self, context: EncryptionContext | None) -> list[_Secret]:
        return [_secret(key, each.encoded) for each in self._tenancy.contexts(context) for key in self._tenancy.keys(each)]


class _Secret(NamedTuple):
    """What pseudonyms of labels and of keys are made with, for one key and context."""

    of_labels: bytes
    of_keys: bytes

    def __repr__(self) -> str:
        return opaque(self)

    def label(self, label: str) -> str:
        return _pseudonym(self.of_labels, utf8(label))

    def key(self, namespace: Namespace, key: str) -> str:
        return _pseudonym(self.of_keys, lps(namespace) + lp(utf8(key)))


@lru_cache(maxsize=1024)
def _secret(key: Key, context: bytes) -> _Secret:
    return _Secret(key.derive("name", b"label", context), key.derive("name", b"key", context))


def _pseudonym(secret: bytes, name: bytes) -> str:
    mac = hmac.digest(secret, name, "sha256")[:_SIZE]
    return base64.b32encode(mac).decode("ascii").rstrip("=").lower()


def check_labels(namespace: Sequence[str]) -> None:
    """Refuses labels that the inner store would refuse, before pseudonyms hide what they are.

    Raises:
        InvalidNamespaceError: If a label is empty, no str, or has a period or U+0000.
    """
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label or "\0" in label:
            raise InvalidNamespaceError(
                f"Invalid namespace label {label!r} found in {namespace}. Namespace labels must be non-empty strings "
                "without periods ('.') and NUL bytes."
            )


def checked(op: AnyOp) -> AnyOp:
    """Refuses names that cannot be stored or found. Returns the operation with a tuple for its namespace.

    Raises:
        InvalidNamespaceError: If a label is empty, no str, or has a period or U+0000.
        TypeError: If a key is no str: 1 and "1" must not be two spellings of one item.
    """
    if isinstance(op, (GetOp, PutOp)):
        check_labels(op.namespace)
        if not isinstance(op.key, str):
            raise TypeError(f"the key of an item is a str, not {type(op.key).__name__}")
        return op if type(op.namespace) is tuple else cast("AnyOp", op._replace(namespace=tuple(op.namespace)))
    if isinstance(op, SearchOp):
        check_labels(op.namespace_prefix)
        return op if type(op.namespace_prefix) is tuple else op._replace(namespace_prefix=tuple(op.namespace_prefix))
    if isinstance(op, ListNamespacesOp):
        for condition in op.match_conditions or ():
            check_labels(condition.path)
    return op


class Remembered:
    """Names that this process has seen, by context: bounded, since anybody may fill a database with names."""

    def __init__(self) -> None:
        self._names: Bounded[tuple[bytes | None, str], str] = Bounded(REMEMBERED)

    def among(self, context: EncryptionContext | None, names: Iterable[str]) -> dict[str, str]:
        """Returns those of some names that were seen under a context, with what was remembered of each."""
        encoded = None if context is None else context.encoded
        return {name: label for name in names if (label := self._names.get((encoded, name))) is not None}

    def add(self, context: EncryptionContext | None, name: str, label: str = "") -> None:
        """Remembers a name, and a label with it."""
        self._names[None if context is None else context.encoded, name] = label

"""Key wrapping: a key service (or one local key) encrypts the data keys of tenants, so that a database may hold them.

A `KeyWrapper` is two calls, wrap and unwrap. There is one for AWS KMS (`encrypted_serde.kms.aws`), Google Cloud KMS
(`encrypted_serde.kms.gcp`), Azure Key Vault (`encrypted_serde.kms.azure`), HashiCorp Vault and OpenBao transit
(`encrypted_serde.kms.vault`) and for a `Key` of one's own (`encrypted_serde.kms.local`), and one that chooses among them by
tenant (`encrypted_serde.kms.per_tenant`). Each is a module of its own, so that nothing imports the client library of a
service that is not used. `encrypted_serde.tenants.keyring` builds a key provider on top.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from ..core.encoding import encode_pairs, lp
from ..core.keys import KEY_SIZE, PROTOCOL
from ..errors import AuthenticationFailed, ConfigurationError, KeyServiceError
from .fence import FencedWrapper

ATTEMPTS = 3
"""How often a call is made in all while the service throttles or fails to answer."""

_PAUSE = 0.1  # seconds before the second attempt, doubled for the third; half of it is random

TIMEOUT = 5.0
"""Seconds one call to a key service may take before it is given up, where the user's own client does not say otherwise."""


T = TypeVar("T")

Judge = Callable[[Exception], "tuple[str, bool] | None"]
"""Says what an error of a service's client means: a status or class name, and whether a retry can help. None means that the
service does not accept what is unwrapped."""


@runtime_checkable
class KeyWrapper(Protocol):
    """Encrypts data keys under a key that never leaves its service. Called from several threads at once.

    The contract is authenticated encryption with the context as associated data: what was wrapped for one context must not
    unwrap for another. `check_wrapper` tries that out.

    Attributes:
        name: Which service and which key, e.g. ``aws-kms:alias/tenants``. Stored beside every wrapped key and shown in
            errors; no secret.
    """

    @property
    def name(self) -> str:
        """Which service and which key."""
        ...

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key for one context.

        Args:
            secret: The data key, 32 bytes.
            context: The encryption context that owns it.

        Raises:
            KeyServiceError: If the service did not do it. The message says which service and key, `retryable` whether the
                same call may succeed later.
        """
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts what `wrap` gave, for the same context.

        Raises:
            AuthenticationFailed: If it was changed, or was wrapped for another context or under another key.
            KeyServiceError: If the service did not do it.
        """
        ...


def associated_data(context: Mapping[str, str]) -> bytes:
    """Encodes a context for services that take associated data as bytes.

    ``LP("encrypted-serde/1") LP("wrap") pairs(context)``: nothing else that a service encrypts under the same key is taken
    for a wrapped data key.
    """
    return PROTOCOL + lp(b"wrap") + encode_pairs(context)


def service_error(wrapper: str, action: str, problem: str, *, retryable: bool) -> KeyServiceError:
    """Builds the error of a failed call: which service and key, what happened, and whether a retry can help.

    Args:
        wrapper: `KeyWrapper.name`.
        action: ``wrap`` or ``unwrap``.
        problem: What the service said: a status or class name, never its text, which may quote the request.
        retryable: Whether the same call may succeed later.
    """
    advice = "a retry may help" if retryable else "a retry cannot help"
    return KeyServiceError(f"{wrapper}: could not {action} a data key ({problem}); {advice}", retryable=retryable)


def refused(wrapper: str) -> AuthenticationFailed:
    """Builds the error of a wrapped key that its service does not accept."""
    return AuthenticationFailed(f"{wrapper}: the wrapped key was changed, or belongs to another context or another key")


def called(wrapper: str, action: str, call: Callable[[], T], judge: Judge) -> T:
    """Calls a key service.

    Args:
        wrapper: `KeyWrapper.name`.
        action: ``wrap`` or ``unwrap``.
        call: What to call.
        judge: Says what an error of the service's client means.

    Raises:
        AuthenticationFailed: If the service does not accept what is unwrapped.
        KeyServiceError: In place of everything else that was raised.
    """
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # there is no list of what a client raises for an answer that it cannot read
        judged, name = judge(error), type(error).__name__
    if judged is None and action == "unwrap":
        raise refused(wrapper)
    problem, retryable = judged or (name, False)
    raise service_error(wrapper, action, problem, retryable=retryable)


def repeated(call: Callable[[], T]) -> T:
    """Makes a call up to three times, while its error says that a retry may help: for services whose client does not."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except KeyServiceError as error:
            if not error.retryable:
                raise
        time.sleep(_PAUSE * attempt * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, protects nothing
    return call()


def check_wrapper(wrapper: KeyWrapper) -> None:
    """Tries a wrapper out: a trial key must unwrap under its own context, and must not under another one.

    A wrong key id, a missing permission or a kind of key that ignores the context is found here, at start-up. Three calls to
    the service. A wrapper that has a method ``check``, such as `encrypted_serde.kms.per_tenant.PerTenantWrapper`, is asked to
    try itself out instead.

    Raises:
        TypeError: If it is no `KeyWrapper`.
        ConfigurationError: If it breaks the contract.
        KeyServiceError: If the service does not do what is asked: no such key, no permission, no answer.
    """
    if isinstance(wrapper, type) or not isinstance(wrapper, KeyWrapper):
        raise TypeError(f"expected a KeyWrapper with name, wrap and unwrap, not {type(wrapper).__name__}")
    if callable(own := getattr(wrapper, "check", None)):
        own()
        return
    wrapper = FencedWrapper(wrapper)
    secret = os.urandom(KEY_SIZE)
    right, wrong = ({"trial": os.urandom(8).hex()} for _ in range(2))
    wrapped = wrapper.wrap(secret, right)
    try:
        unwrapped = wrapper.unwrap(wrapped, right)
    except AuthenticationFailed:
        raise ConfigurationError(f"{wrapper.name}: a trial key did not unwrap again; is this an encryption key?") from None
    if unwrapped != secret:
        raise ConfigurationError(f"{wrapper.name}: a trial key came back changed")
    if not authenticates(wrapper, wrapped, wrong):
        raise ConfigurationError(
            f"{wrapper.name}: a trial key unwrapped under a wrong context; use a key that authenticates associated data"
        )


def authenticates(wrapper: KeyWrapper, wrapped: bytes, wrong: Mapping[str, str]) -> bool:
    """Says whether a wrapper refuses to unwrap a data key under a wrong context."""
    try:
        wrapper.unwrap(wrapped, wrong)
    except AuthenticationFailed:
        return True
    return False

"""A key service whose listener was stopped, over each real client: an error that says that a retry may help."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import hvac
import pytest
from botocore.config import Config
from langgraph.store.memory import InMemoryStore

from encrypted_serde import AuthenticationFailed, Key, KeyServiceError, LocalKeyWrapper
from encrypted_serde.kms import KeyWrapper, check_wrapper
from encrypted_serde.kms.aws import AwsKeyWrapper
from encrypted_serde.kms.azure import AzureKeyWrapper
from encrypted_serde.kms.fence import FencedWrapper
from encrypted_serde.kms.vault import VaultKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.kms.azure_service import AzureService

SECRET, ACME = os.urandom(32), {"tenant_id": "acme"}


@pytest.fixture
def port() -> int:
    """A port on which nobody listens any more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return int(listener.getsockname()[1])


def aws(port: int, **options: Any) -> AwsKeyWrapper:
    config = Config(connect_timeout=0.5, read_timeout=0.5, retries={"total_max_attempts": 1}, **options)
    client = boto3.client(
        "kms",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )
    return AwsKeyWrapper("alias/tenants", client=client)


def google(port: int) -> KeyWrapper:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import grpc
        from google.cloud.kms_v1 import KeyManagementServiceClient
        from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

        from encrypted_serde.kms.gcp import GoogleKeyWrapper

        transport = KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(f"127.0.0.1:{port}"))
        client = KeyManagementServiceClient(transport=transport)
    name = "projects/test/locations/europe-west3/keyRings/agents/cryptoKeys/tenants"
    return GoogleKeyWrapper(name, client=client, timeout=0.3)


def vault(port: int) -> VaultKeyWrapper:
    return VaultKeyWrapper("tenants", client=hvac.Client(f"http://127.0.0.1:{port}", token="test", timeout=1))


@pytest.fixture
def azure_wrapper(azure: AzureService, port: int) -> AzureKeyWrapper:
    key_id = azure.key_id(port=port)
    return AzureKeyWrapper(key_id, client=azure.make_client(key_id))


@pytest.fixture(params=["aws", "google", "vault", "azure"])
def stopped(request: pytest.FixtureRequest, port: int) -> KeyWrapper:
    makers: dict[str, Callable[[int], KeyWrapper]] = {"aws": aws, "google": google, "vault": vault}
    name = request.param
    return makers[name](port) if name in makers else request.getfixturevalue("azure_wrapper")


def test_a_listener_that_is_stopped_is_an_outage(stopped: KeyWrapper) -> None:
    forged = b"\x01" + (b"\0\1x" * 2) + bytes(93)  # that Azure's is forged is noticed with its public key alone
    for call in (lambda: stopped.wrap(SECRET, ACME), lambda: stopped.unwrap(forged, ACME)):
        with pytest.raises(KeyServiceError, match="a retry may help") as caught:
            call()
        assert caught.value.retryable
        assert stopped.name in str(caught.value)
    with pytest.raises(KeyServiceError) as at_start:
        TenantKeyring(InMemoryStore(), stopped)
    assert at_start.value.retryable


def test_a_name_that_does_not_resolve_and_a_proxy_that_is_away_are_outages(port: int) -> None:
    for wrapper in (aws(port, proxies={"http": f"http://127.0.0.1:{port}"}), _unresolved()):
        with pytest.raises(KeyServiceError) as caught:
            wrapper.wrap(SECRET, ACME)
        assert caught.value.retryable


def _unresolved() -> AwsKeyWrapper:
    wrapper = aws(1)
    wrapper._client.meta.events.register("before-send.kms", _cannot_resolve)
    return wrapper


def _cannot_resolve(**_: Any) -> None:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="https://kms.nowhere.example")


# --- wrappers of one's own ------------------------------------------------------------------------------------------------


class Raising(LocalKeyWrapper):
    """A wrapper that somebody wrote, with a client that raises what it likes."""

    def __init__(self, error: Any) -> None:
        super().__init__(Key.generate())
        self.error = error

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        raise self.error

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        raise self.error


class ClientError(Exception):
    """Of a client library that nobody knows."""


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ConnectionRefusedError("secret"), True),
        (TimeoutError("secret"), True),
        (ClientError("secret"), True),
        (ValueError("secret"), False),
        (KeyError("secret"), False),
        (TypeError("secret"), False),
    ],
)
def test_whatever_a_wrapper_raises_is_a_key_service_error(error: Exception, retryable: bool) -> None:
    fenced = FencedWrapper(Raising(error))
    for call in (lambda: fenced.wrap(SECRET, ACME), lambda: fenced.unwrap(b"x", ACME), lambda: check_wrapper(Raising(error))):
        with pytest.raises(KeyServiceError, match=type(error).__name__) as caught:
            call()
        assert caught.value.retryable is retryable
        assert not isinstance(caught.value, (ValueError, LookupError))
        assert "secret" not in str(caught.value)


def test_a_refusal_stays_one() -> None:
    with pytest.raises(AuthenticationFailed):
        FencedWrapper(Raising(AuthenticationFailed("no"))).unwrap(b"x", ACME)


def test_what_is_no_bytes_is_an_error_of_the_service() -> None:
    class Odd(LocalKeyWrapper):
        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            return "text"  # type: ignore[return-value]

    with pytest.raises(KeyServiceError):
        FencedWrapper(Odd(Key.generate())).unwrap(b"x", ACME)

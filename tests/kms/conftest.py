"""Fixtures for the key services: each is started once, on the loopback interface, and reset before every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kms import aws_service, azure_service, google_service, vault_service
from tests.kms.aws_service import AwsService
from tests.kms.azure_service import AzureService
from tests.kms.google_service import GoogleService
from tests.kms.service import Service
from tests.kms.vault_service import VaultService


@pytest.fixture(scope="session")
def aws_running() -> Iterator[AwsService]:
    with aws_service.running() as service:
        yield service


@pytest.fixture(scope="session")
def google_running() -> Iterator[GoogleService]:
    with google_service.running() as service:
        yield service


@pytest.fixture(scope="session")
def vault_running() -> Iterator[VaultService]:
    with vault_service.running() as service:
        yield service


@pytest.fixture(scope="session")
def azure_running() -> Iterator[AzureService]:
    with azure_service.running() as service:
        yield service


@pytest.fixture
def azure(azure_running: AzureService) -> AzureService:
    azure_running.reset()
    return azure_running


@pytest.fixture
def aws(aws_running: AwsService) -> AwsService:
    aws_running.reset()
    return aws_running


@pytest.fixture
def google(google_running: GoogleService) -> GoogleService:
    google_running.reset()
    return google_running


@pytest.fixture
def vault(vault_running: VaultService) -> VaultService:
    vault_running.reset()
    return vault_running


@pytest.fixture(params=["aws", "google", "vault", "azure"])
def service(request: pytest.FixtureRequest) -> Service:
    """Each of the key services in turn."""
    service: Service = request.getfixturevalue(request.param)
    return service

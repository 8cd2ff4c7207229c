"""What is peculiar to AWS KMS."""

from __future__ import annotations

import os
from typing import Any

import boto3
import pytest

from encrypted_serde import ConfigurationError, KeyServiceError
from encrypted_serde.kms.aws import AwsKeyWrapper
from tests.kms.aws_service import AwsService

SECRET = os.urandom(32)
ACME = {"tenant_id": "acme"}


def test_the_context_is_the_encryption_context_of_kms_with_a_pair_of_ours(aws: AwsService) -> None:
    wrapped = aws.wrapper().wrap(SECRET, ACME)
    answer = aws.client.decrypt(CiphertextBlob=wrapped, EncryptionContext={"tenant_id": "acme", "EncryptedSerde": "wrap"})
    assert answer["Plaintext"] == SECRET


@pytest.mark.parametrize("fault", ["wrong type", "bad base64"])
def test_an_answer_that_boto3_cannot_read_never_raises_a_value_error(aws: AwsService, fault: str) -> None:
    wrapper = aws.wrapper()
    aws.faults.plan(fault, 2)
    with pytest.raises(KeyServiceError) as caught:
        wrapper.wrap(SECRET, ACME)
    assert not isinstance(caught.value, ValueError)


def test_an_alias_names_a_key(aws: AwsService) -> None:
    aws.client.create_alias(AliasName="alias/tenants", TargetKeyId=aws.wrapper().name.removeprefix("aws-kms:"))
    wrapper = AwsKeyWrapper("alias/tenants", client=aws.client)
    assert wrapper.unwrap(wrapper.wrap(SECRET, ACME), ACME) == SECRET
    assert wrapper.name == "aws-kms:alias/tenants"


def test_missing_credentials_are_an_error_of_the_service(aws: AwsService, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    client: Any = boto3.session.Session().client("kms", region_name="eu-central-1", endpoint_url=aws.client.meta.endpoint_url)
    with pytest.raises(KeyServiceError, match="NoCredentialsError") as caught:
        AwsKeyWrapper("alias/tenants", client=client).wrap(SECRET, ACME)
    assert not caught.value.retryable
    client.close()


def test_a_client_of_its_own_is_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    config = AwsKeyWrapper("alias/tenants")._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (5.0, 5.0)
    assert config.retries["total_max_attempts"] == 3


def test_an_empty_key_id_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        AwsKeyWrapper("")

"""What is peculiar to Google Cloud KMS: checksums, and the name in the answer."""

from __future__ import annotations

import os

import pytest

from encrypted_serde import ConfigurationError, KeyServiceError
from tests.kms.google_service import GoogleKeyWrapper, GoogleService

SECRET = os.urandom(32)
ACME = {"tenant_id": "acme"}


@pytest.mark.parametrize("fault", ["checksum", "unverified"])
def test_a_key_that_was_damaged_on_its_way_to_be_wrapped_is_noticed(google: GoogleService, fault: str) -> None:
    google.faults.plan(fault)
    with pytest.raises(KeyServiceError, match="checksum") as caught:
        google.wrapper().wrap(SECRET, ACME)
    assert caught.value.retryable


def test_a_key_that_was_damaged_on_its_way_back_is_noticed(google: GoogleService) -> None:
    wrapper = google.wrapper()
    wrapped = wrapper.wrap(SECRET, ACME)
    google.faults.plan("checksum")
    with pytest.raises(KeyServiceError, match="checksum"):
        wrapper.unwrap(wrapped, ACME)


def test_an_answer_under_another_key_is_refused(google: GoogleService) -> None:
    google.faults.plan("another key")
    with pytest.raises(KeyServiceError, match="another key"):
        google.wrapper().wrap(SECRET, ACME)


@pytest.mark.parametrize("name", ["", "tenants", "projects/p/locations/l/keyRings/r/cryptoKeys/", "a/b/c/d/e/f/g/h"])
def test_a_key_name_of_another_form_is_refused(google: GoogleService, name: str) -> None:
    with pytest.raises(ConfigurationError):
        GoogleKeyWrapper(name, client=google.client)


def test_a_version_of_a_key_is_no_key(google: GoogleService) -> None:
    name = google.wrapper().name.removeprefix("google-kms:")
    with pytest.raises(ConfigurationError):
        GoogleKeyWrapper(f"{name}/cryptoKeyVersions/1", client=google.client)

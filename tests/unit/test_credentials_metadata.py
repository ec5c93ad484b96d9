"""A credential is found wherever the families put it, and two that differ are none."""

import pytest

from headgate_credentials import from_metadata
from headgate_rpc.errors import HeadgateError, Reason

ACCEPTED = [
    ({}, None),
    ({"x-api-key": ""}, None),
    ({"x-request-id": "abc"}, None),
    ({"authorization": "Bearer abc"}, "abc"),
    ({"authorization": "bearer abc"}, "abc"),
    ({"authorization": "BEARER   abc "}, "abc"),
    ({"authorization": "Token abc"}, "abc"),
    ({"x-api-key": "abc"}, "abc"),
    ({"x-api-key": " abc "}, "abc"),
    ({"authorization": "Bearer abc", "x-api-key": "abc"}, "abc"),
]

REFUSED = [
    {"authorization": ""},
    {"authorization": "abc"},
    {"authorization": "Bearer"},
    {"authorization": "Bearer "},
    {"authorization": "Bearer a b"},
    {"authorization": "Basic YTpi"},
    {"authorization": "Bearer abc", "x-api-key": "abd"},
    {"authorization": "Basic YTpi", "x-api-key": "abc"},
    {"authorization": "Bearer aaa.bbb.ccc"},
    {"x-api-key": "aaa.bbb.ccc"},
]


@pytest.mark.parametrize(("metadata", "credential"), ACCEPTED)
def test_one_credential_is_found(metadata: dict[str, str], credential: str | None) -> None:
    assert from_metadata(metadata) == credential


@pytest.mark.parametrize("metadata", REFUSED)
def test_a_malformed_or_contradicting_credential_is_refused_without_repeating_it(
    metadata: dict[str, str],
) -> None:
    with pytest.raises(HeadgateError) as refusal:
        from_metadata(metadata)
    assert refusal.value.reason is Reason.INVALID_CREDENTIALS
    assert "abc" not in refusal.value.message
    assert "YTpi" not in refusal.value.message

"""No credential leaves through a log line, wherever it was put."""

import pytest

from headgate_telemetry.redact import MAX_TEXT, clean, clean_fields, redact

KEY = "sk-hg-0123abcdEFGH_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV41a2b3c"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("Zm9vYmFy", f"key {KEY} refused"),
        ("aaaabbbbcccc", "openai said sk-proj-aaaabbbbccccdddd is wrong"),
        ("hunter2", "Authorization: Bearer hunter2"),
        ("hunter2", "authorization: bearer hunter2, next"),
        ("aHVudGVyMg", "Basic aHVudGVyMg=="),
        ("c2lnbmF0dXJl", f"token={JWT}"),
        ("AAAABBBBCCCCDDDDEEEEFFFF", "?key=AIzaAAAABBBBCCCCDDDDEEEEFFFF"),
        ("pass", "postgresql://user:pass@db/headgate"),
    ],
)
def test_credentials_in_text_are_masked(secret, text):
    assert secret in text
    assert secret not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text", ["sk-hg-0123abcdEFGH", "ask-me", "a basic thing", "who@example.com", "eyJust a word", "task-list"]
)
def test_what_only_resembles_a_credential_stays(text):
    assert redact(text) == text


def test_a_key_that_crosses_the_cut_is_masked_whole():
    text = "x" * (MAX_TEXT - 20) + " " + KEY
    assert "Zm9v" not in clean(text)
    assert len(clean("y" * 10_000)) == MAX_TEXT


@pytest.mark.parametrize(
    "name",
    ["password", "api_key", "x-api-key", "authorization", "client_secret", "Set-Cookie", "refresh_token"],
)
def test_fields_named_like_secrets_are_masked_at_any_depth(name):
    cleaned = clean_fields({name: "hunter2", "inner": {"deep": [{name: b"hunter2"}]}})
    assert "hunter2" not in repr(cleaned)


def test_counts_and_prefixes_are_no_secrets():
    fields = {
        "input_tokens": 12,
        "tokens": 3,
        "key_prefix": "sk-hg-abc",
        "model": "m",
        "cost": 1.5,
        "x": None,
    }
    assert clean_fields(fields) == fields


def test_long_collections_and_endless_nesting_are_cut():
    endless: dict[str, object] = {}
    endless["again"] = endless
    cleaned = clean_fields({"many": list(range(10_000)), "endless": endless})
    many = cleaned["many"]
    assert isinstance(many, list)
    assert len(many) == 64
    assert len(repr(cleaned["endless"])) < 200

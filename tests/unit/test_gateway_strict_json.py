"""A JSON body that two parsers could read differently does not come in, and the refusal says where."""

import json

import pytest

from headgate_gateway.strict_json import Malformed, encode, parse, rest_of

DEEP_32 = b'{"a":' * 31 + b"[]" + b"}" * 31
DEEP_33 = b'{"a":' * 32 + b"[]" + b"}" * 32


@pytest.mark.parametrize(
    ("body", "word", "field"),
    [
        (b"", "EOF", None),
        (b"nonsense", "expected", None),
        (b'{"a":1', "EOF", None),
        (b'{"a":1,"a":2}', "duplicate key", "a"),
        (b'{"a":{"b":1,"b":2}}', "duplicate key", "b"),
        (b'{"a":NaN}', "column 6", None),
        (b'{"a":-Infinity}', "line 1", None),
        (b'{"a":1,}', "trailing comma", None),
        (b'{"a":1} // why', "trailing characters", None),
        (b'{"a":1}{"a":1}', "trailing characters", None),
        (b'{/* why */"a":1}', "key must be a string", None),
        (b"{'a':1}", "key must be a string", None),
        (b'{"a":01}', "invalid number", None),
        (b'{"a":"\xff"}', "unicode", None),
        (b'{"a":"\xed\xa0\x80"}', "unicode", None),
        (b'{"a":"\\ud800"}', "escape", None),
        (b'{"a":"\\udc00"}', "surrogate", None),
        (b'{"a":"\x00"}', "control character", None),
        ('{"a":1}'.encode("utf-16"), "not valid JSON", None),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON", None),
        (b"[1]", "must be a JSON object", None),
        (b"null", "must be a JSON object", None),
        (b'{"a":1e400}', "out of range", "a"),
        (b'{"a":[{"b":-1e999}]}', "out of range", "a[0].b"),
        (b'{"a":{"b":' + b"9" * 30 + b"}}", "more than 64 bits", "a.b"),
        (b'{"a":' + b"9" * 5000 + b"}", "out of range", None),
        (DEEP_33, "nested deeper", ".".join("a" * 32)),
        (b"[" * 100_000, "not valid JSON", None),
        (b'{"a":[' + b"1," * 1_000_000 + b"1]}", "too many values", None),
        (b'{"a":[' + b"[[]]," * 400_000 + b"1]}", "too many values", None),
        (b'{"a":[' + b'{"":1},' * 600_000 + b"1]}", "too many values", None),
    ],
)
def test_what_parsers_disagree_on_is_refused(body: bytes, word: str, field: str | None) -> None:
    with pytest.raises(Malformed) as caught:
        parse(body)
    assert word.lower() in caught.value.message.lower()
    assert caught.value.field == field


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"text": "Grüße, 世界 \U0001f600   end", "n": [1, 2.5, -3, None, True, 2**63], "o": {"x": []}},
        {"zero": "\x00", "small": 5e-324, "large": 1.7976931348623157e308},
    ],
)
def test_a_good_body_comes_through_unchanged(tree: dict[str, object]) -> None:
    assert parse(json.dumps(tree).encode()) == tree
    assert parse(json.dumps(tree, ensure_ascii=False).encode()) == tree
    assert json.loads(encode(tree)) == tree


def test_a_large_body_of_few_values_comes_through() -> None:
    body = {"text": "a, b " * 300_000, "ids": list(range(300_000))}
    assert parse(json.dumps(body).encode()) == body


def test_32_levels_are_allowed() -> None:
    assert parse(DEEP_32)


def test_brackets_within_text_are_not_depth() -> None:
    assert parse(json.dumps({"a": "[{" * 1000}).encode())


def test_the_message_stays_short_whatever_the_body_holds() -> None:
    key = b"k" * 100_000
    with pytest.raises(Malformed) as caught:
        parse(b'{"%b":1,"%b":2}' % (key, key))
    assert len(caught.value.message) <= 200
    assert caught.value.field is not None
    assert len(caught.value.field) <= 200


def test_unknown_fields_keep_their_order_and_known_ones_are_left_out() -> None:
    tree = parse(b'{"z":1,"known":2,"a":{"b":[1.5]}}')
    assert rest_of(tree, frozenset({"known"})) == b'{"z":1,"a":{"b":[1.5]}}'
    assert rest_of(tree, frozenset({"z", "a", "known"})) == b""

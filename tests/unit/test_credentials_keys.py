"""A key can be told from noise without asking anybody, and never shows itself."""

import math
import random
import re

import pytest

from headgate_credentials import cache_key, digest, generate, parse
from headgate_credentials.keys import SECRET_LETTERS
from headgate_settings import Secret

PRINTABLE = "".join(chr(code) for code in range(33, 127)) + "é\u0000\ud800"


def mutated(text: str, draw: random.Random) -> str:
    """`text` with one to four edits of the kinds that people and broken programs make."""
    letters = list(text)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(letters))
        match draw.randrange(5):
            case 0:
                letters[place] = draw.choice(PRINTABLE)
            case 1:
                letters.insert(place, draw.choice(PRINTABLE))
            case 2 if len(letters) > 1:
                del letters[place]
            case 3:
                letters[place] = letters[place].swapcase()
            case _:
                letters[place], letters[place - 1] = letters[place - 1], letters[place]
    return "".join(letters)


def test_a_generated_key_has_the_documented_form_and_strength() -> None:
    key = generate()
    text = key.text.reveal()
    assert re.fullmatch(r"sk-hg-[0-9A-Za-z]{16}_[0-9A-Za-z]{36}", text)
    assert text.startswith(key.prefix + "_")
    assert key.prefix == f"sk-hg-{key.id}"
    assert SECRET_LETTERS * math.log2(62) >= 178
    parsed = parse(text)
    assert parsed is not None
    assert (parsed.id, parsed.prefix) == (key.id, key.prefix)


def test_a_generated_key_does_not_show_its_secret() -> None:
    key = generate()
    secret = key.text.reveal().partition("_")[2]
    assert secret not in repr(key)
    assert secret not in str(key)
    assert secret not in repr(parse(key.text.reveal()))


def test_keys_do_not_repeat() -> None:
    keys = [generate() for _ in range(1000)]
    assert len({key.id for key in keys}) == 1000
    assert len({key.text.reveal() for key in keys}) == 1000


def test_no_mutation_of_a_key_passes_the_checksum() -> None:
    draw = random.Random(6)
    keys = [generate().text.reveal() for _ in range(20)]
    accepted = []
    for number in range(20_000):
        key = keys[number % len(keys)]
        other = mutated(key, draw)
        if other != key and parse(other) is not None:
            accepted.append((key, other))
    assert not accepted


@pytest.mark.parametrize("text", ["", "sk-hg-", "sk-" + "a" * 56, "é" * 59, "\ud800", "x" * 1_000_000])
def test_noise_is_no_key(text: str) -> None:
    assert parse(text) is None


def test_a_key_with_something_around_it_is_no_key() -> None:
    text = generate().text.reveal()
    for other in (text + "\n", " " + text, text + text, text + "\0"):
        assert parse(other) is None


def test_the_stored_digest_depends_on_the_pepper_and_on_every_letter() -> None:
    key = generate().text.reveal()
    assert len(digest(key, Secret("pepper"))) == 32
    assert digest(key, Secret("pepper")) == digest(key, Secret("pepper"))
    assert digest(key, Secret("pepper")) != digest(key, Secret("other"))
    assert digest(key, Secret("pepper")) != digest(key[:-1], Secret("pepper"))


def test_the_cache_key_takes_any_text() -> None:
    texts = ["", "é", "\ud800", "?", "a", "b"]
    assert len({cache_key(text) for text in texts}) == len(texts)

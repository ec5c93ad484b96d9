"""A secret shows itself nowhere unless asked."""

import copy
import dataclasses
import json
import pickle

import pytest

from headgate_settings import Secret

TOKEN = "sk-very-secret"


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(TOKEN)),
        str(Secret(TOKEN)),
        f"{Secret(TOKEN)}",
        f"{Secret(TOKEN):>8}",
        "%s" % Secret(TOKEN),  # noqa: UP031 -- one of the ways
        repr({"key": Secret(TOKEN)}),
    ],
)
def test_every_way_to_print_shows_stars(shown: str) -> None:
    assert TOKEN not in shown
    assert "***" in shown


def test_reveal_gives_the_characters() -> None:
    assert Secret(TOKEN).reveal() == TOKEN


def test_encoders_refuse_it() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret(TOKEN))
    with pytest.raises(TypeError):
        pickle.dumps(Secret(TOKEN))


def test_equality_is_by_value_and_only_with_secrets() -> None:
    assert Secret(TOKEN) == Secret(TOKEN)
    assert Secret(TOKEN) != Secret("other")
    assert Secret(TOKEN) != TOKEN
    assert hash(Secret(TOKEN)) == hash(Secret(TOKEN))


def test_empty_is_falsy() -> None:
    assert not Secret("")
    assert Secret(TOKEN)


def test_it_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Secret(TOKEN)._value = "other"


def test_dataclasses_that_hold_it_can_be_copied_and_printed() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Holder:
        key: Secret

    holder = Holder(Secret(TOKEN))
    assert dataclasses.asdict(holder) == {"key": Secret(TOKEN)}
    assert copy.deepcopy(holder) == holder
    assert TOKEN not in repr(holder)

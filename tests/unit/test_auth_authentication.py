"""Noise never reaches the store, and no two refusals can be told apart."""

import asyncio
import random

import pytest

from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.authentication import Authenticator
from headgate_auth.invalidation import Mark
from headgate_auth.last_used import LastUsed
from headgate_auth.stores.memory import MemoryStore
from headgate_credentials import digest, generate
from headgate_credentials.keys import _checksum
from headgate_rpc.errors import HeadgateError, Reason
from headgate_settings import Secret
from headgate_testing.clock import FakeClock

PEPPER = Secret("pepper")


class CountingStore(MemoryStore):
    """Counts look-ups, and holds each until `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.look_ups = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()

    async def find_key(self, public_id: str) -> tuple[ApiKey, Account, Mark] | None:
        self.look_ups += 1
        found = await super().find_key(public_id)
        self.reached.set()
        await self.gate.wait()
        return found


class House:
    def __init__(self) -> None:
        self.store = CountingStore()
        clock = FakeClock()
        self.authenticator = Authenticator(self.store, PEPPER, LastUsed(self.store, clock), clock)

    async def add(self) -> tuple[ApiKey, str]:
        made = generate()
        text = made.text.reveal()
        key = ApiKey("key_1", "acct_a", "n", made.id, digest(text, PEPPER), ("inference",), (), "free", (), 1)
        await self.store.add_account(Account("acct_a", "alice", "free", 1))
        await self.store.add_key(key)
        return key, text


async def refusal(house: House, text: str) -> HeadgateError:
    with pytest.raises(HeadgateError) as caught:
        await house.authenticator.authenticate(text)
    return caught.value


async def test_noise_is_refused_without_a_look_up() -> None:
    house = House()
    _, text = await house.add()
    draw = random.Random(8)
    for _ in range(2_000):
        place = draw.randrange(len(text))
        other = text[:place] + draw.choice("0aZ_-é") + text[place + 1 :]
        if other != text:
            assert (await refusal(house, other)).reason is Reason.INVALID_CREDENTIALS
    assert house.store.look_ups == 0
    assert (await house.authenticator.authenticate(text))[0].id == "key_1"
    assert house.store.look_ups == 1


async def test_a_wrong_secret_an_unknown_id_and_noise_look_the_same() -> None:
    house = House()
    key, _ = await house.add()
    body = f"{key.prefix}_{'A' * 30}"
    wrong_secret = await refusal(house, body + _checksum(body))
    unknown_id = await refusal(house, generate().text.reveal())
    noise = await refusal(house, "hello")
    assert wrong_secret.reason is unknown_id.reason is noise.reason is Reason.INVALID_CREDENTIALS
    assert wrong_secret.message == unknown_id.message == noise.message
    assert house.store.look_ups == 2


async def test_an_answer_read_before_a_revocation_carries_an_older_position() -> None:
    house = House()
    key, text = await house.add()
    house.store.gate.clear()
    pending = asyncio.create_task(house.authenticator.authenticate(text))
    await house.store.reached.wait()
    await house.store.revoke_key(key.id, 5)
    house.store.gate.set()
    _, position = await pending
    end = (await house.store.invalidations(0)).end
    assert position.epoch == end.epoch
    assert position.version < end.version

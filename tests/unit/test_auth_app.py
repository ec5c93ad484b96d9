"""Auth as it runs: first key, files, and the RPCs over a channel."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headgate.auth.v1 import auth_pb2
from headgate_admission.principal import from_message
from headgate_admission.scopes import SCOPES
from headgate_auth.app import AuthApp, build
from headgate_auth.settings import AuthSettings
from headgate_clients.auth import AuthClient
from headgate_credentials import generate
from headgate_rpc.call import CallContext
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_settings import Secret, SettingsError
from headgate_testing.clock import FakeClock


class GateOfOne:
    """Lets everybody in as the principal of their credential, as admission would."""

    def __init__(self, app: AuthApp) -> None:
        self._app = app

    async def admit(self, call: CallContext) -> None:
        if call.method.required_scope != "internal":
            request = auth_pb2.AuthenticateRequest(credential=call.metadata["x-api-key"])
            call.principal = from_message((await self._app.servicer.Authenticate(request, call)).principal)


class NoObserver:
    def started(self, call: CallContext) -> None: ...

    def finished(self, call: CallContext, error: HeadgateError | None) -> None: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def app(tmp_path: Path, clock: FakeClock) -> AsyncIterator[AuthApp]:
    built = build(AuthSettings(data=tmp_path), clock)
    await built.start()
    yield built
    await built.stop()


@pytest.fixture
def client(app: AuthApp) -> AuthClient:
    host = Host(GateOfOne(app), NoObserver())
    host.add(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], app.servicer)
    return AuthClient(InprocChannel(host))


def by(key: str, endpoint: str = "") -> Options:
    extra = {"x-headgate-endpoint": endpoint} if endpoint else {}
    return Options({"x-api-key": key, **extra})


async def who(client: AuthClient, key: str) -> auth_pb2.Principal:
    reply = await client.authenticate(auth_pb2.AuthenticateRequest(credential=key))
    return reply.message.principal


async def test_the_first_key_is_made_once_and_may_everything(
    app: AuthApp, client: AuthClient, tmp_path: Path
) -> None:
    text = (tmp_path / "bootstrap-key").read_text().strip()
    principal = await who(client, text)
    assert principal.account_id == "acct_main"
    assert principal.policy == "enterprise"
    assert set(principal.scopes) == SCOPES
    for name in ("bootstrap-key", "pepper", "auth.sqlite3"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    await app.stop()
    again = build(AuthSettings(data=tmp_path), FakeClock())
    await again.start()
    assert again.bootstrap_key.reveal() == text
    await again.stop()


async def test_a_given_bootstrap_key_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    old, new = generate().text, generate().text
    for text, other in ((old, new), (new, old), (new, old)):
        app = build(AuthSettings(data=tmp_path, bootstrap_key=text), FakeClock())
        await app.start()
        principal, _ = await app.servicer._authenticator.authenticate(text.reveal())
        assert principal.id == "key_bootstrap"
        with pytest.raises(HeadgateError):
            await app.servicer._authenticator.authenticate(other.reveal())
        await app.stop()
    assert not (tmp_path / "bootstrap-key").exists()


async def test_a_revoked_bootstrap_key_stays_revoked_over_a_restart(
    app: AuthApp, client: AuthClient, tmp_path: Path
) -> None:
    text = app.bootstrap_key.reveal()
    await client.revoke_key(auth_pb2.RevokeKeyRequest(key_id="key_bootstrap"), by(text))
    await app.stop()
    again = build(AuthSettings(data=tmp_path), FakeClock())
    await again.start()
    with pytest.raises(HeadgateError):
        await again.servicer._authenticator.authenticate(text)
    await again.stop()


async def test_a_bootstrap_key_that_is_none_is_refused_in_one_line_without_showing_it(tmp_path: Path) -> None:
    app = build(AuthSettings(data=tmp_path, bootstrap_key=Secret("letmein")), FakeClock())
    with pytest.raises(SettingsError, match="HEADGATE_BOOTSTRAP_KEY") as refusal:
        await app.start()
    assert "letmein" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    await app.stop()


async def test_another_pepper_makes_all_keys_invalid(app: AuthApp, tmp_path: Path) -> None:
    text = app.bootstrap_key.reveal()
    await app.servicer._authenticator.authenticate(text)
    await app.stop()
    (tmp_path / "bootstrap-key").unlink()
    other = build(AuthSettings(data=tmp_path, pepper=Secret("other")), FakeClock())
    with pytest.raises(HeadgateError):
        await other.servicer._authenticator.authenticate(text)
    await other.stop()


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pepper").touch()
    with pytest.raises(SettingsError, match="pepper is empty"):
        build(AuthSettings(data=tmp_path), FakeClock())


@pytest.mark.parametrize(("endpoint", "policy"), [("", "enterprise"), ("POST /v1/keys", "standard")])
async def test_the_operators_keys_are_unlimited_unless_made_over_rest(
    app: AuthApp, client: AuthClient, endpoint: str, policy: str
) -> None:
    made = await client.create_key(
        auth_pb2.CreateKeyRequest(name="ci"), by(app.bootstrap_key.reveal(), endpoint)
    )
    assert made.message.key.plan_policy == policy


async def test_a_key_made_by_an_account_is_standard(app: AuthApp, client: AuthClient) -> None:
    request = auth_pb2.CreateKeyRequest(name="ci", scopes=["keys", "inference"])
    first = await client.create_key(request, by(app.bootstrap_key.reveal()))
    second = await client.create_key(request, by(first.message.secret))
    assert second.message.key.plan_policy == "standard"
    assert second.message.key.status == auth_pb2.KEY_STATUS_ACTIVE
    assert (await who(client, second.message.secret)).id == second.message.key.id


async def test_the_life_of_a_key_over_the_channel(app: AuthApp, client: AuthClient, clock: FakeClock) -> None:
    operator = by(app.bootstrap_key.reveal())
    clock.advance(1)
    account = (
        await client.create_account(auth_pb2.CreateAccountRequest(name="Bob"), operator)
    ).message.account
    assert (account.plan, account.id[:5]) == ("free", "acct_")
    made = await client.create_key(auth_pb2.CreateKeyRequest(name="ci", account_id=account.id), operator)
    listed = await client.list_keys(auth_pb2.ListKeysRequest(account_id=account.id), operator)
    assert [key.id for key in listed.message.keys] == [made.message.key.id]
    assert made.message.secret.partition("_")[2] not in str(listed.message)
    await client.revoke_key(auth_pb2.RevokeKeyRequest(key_id=made.message.key.id), operator)
    with pytest.raises(HeadgateError) as refusal:
        await who(client, made.message.secret)
    assert refusal.value.reason is Reason.INVALID_CREDENTIALS
    names = [
        a.name
        for a in (await client.list_accounts(auth_pb2.ListAccountsRequest(), operator)).message.accounts
    ]
    assert names == ["main", "Bob"]


async def test_a_revocation_is_announced_to_followers(app: AuthApp, client: AuthClient) -> None:
    operator = by(app.bootstrap_key.reveal())
    made = await client.create_key(auth_pb2.CreateKeyRequest(name="ci"), operator)
    stream = await client.watch_credentials(auth_pb2.WatchCredentialsRequest())
    replies = aiter(stream)
    async with asyncio.timeout(5):
        start = await anext(replies)
        assert start.part.last
        await client.revoke_key(auth_pb2.RevokeKeyRequest(key_id=made.message.key.id), operator)
        change = await anext(replies)
    assert list(change.delta.deletes) == [f"principal/{made.message.key.id}"]
    assert change.position.version == start.position.version + 1
    await stream.aclose()

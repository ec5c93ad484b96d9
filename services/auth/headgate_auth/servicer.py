"""AuthService: unpack, call, pack."""

from collections.abc import AsyncIterator

from headgate.auth.v1 import auth_pb2
from headgate_admission.principal import Principal, to_message
from headgate_admission.scopes import OPERATOR
from headgate_auth.accounts import Accounts
from headgate_auth.authentication import Authenticator
from headgate_auth.invalidations import Invalidations
from headgate_auth.keys import DEFAULT_POLICY, Keys
from headgate_auth.messages import account_message, key_message, key_wish
from headgate_clock import Clock
from headgate_rpc.call import CallContext

OPERATOR_POLICY = "enterprise"


class AuthServicer:
    """Effects and errors of each RPC stand in its proto."""

    def __init__(
        self,
        accounts: Accounts,
        keys: Keys,
        authenticator: Authenticator,
        invalidations: Invalidations,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._keys = keys
        self._authenticator = authenticator
        self._invalidations = invalidations
        self._clock = clock

    async def Authenticate(
        self, request: auth_pb2.AuthenticateRequest, call: CallContext
    ) -> auth_pb2.AuthenticateResponse:
        """AuthService.Authenticate."""
        principal, position = await self._authenticator.authenticate(request.credential)
        return auth_pb2.AuthenticateResponse(principal=to_message(principal), position=position)

    async def WatchCredentials(
        self, request: auth_pb2.WatchCredentialsRequest, call: CallContext
    ) -> AsyncIterator[auth_pb2.WatchCredentialsResponse]:
        """AuthService.WatchCredentials."""
        async for message in self._invalidations.follow(request.position):
            yield message

    async def CreateKey(
        self, request: auth_pb2.CreateKeyRequest, call: CallContext
    ) -> auth_pb2.CreateKeyResponse:
        """AuthService.CreateKey."""
        key, text = await self._keys.create(_caller(call), key_wish(request), _default_policy(call))
        return auth_pb2.CreateKeyResponse(key=key_message(key, self._clock.wall_ms()), secret=text.reveal())

    async def ListKeys(
        self, request: auth_pb2.ListKeysRequest, call: CallContext
    ) -> auth_pb2.ListKeysResponse:
        """AuthService.ListKeys."""
        keys = await self._keys.list(_caller(call), request.account_id)
        now_ms = self._clock.wall_ms()
        return auth_pb2.ListKeysResponse(keys=[key_message(key, now_ms) for key in keys])

    async def RevokeKey(
        self, request: auth_pb2.RevokeKeyRequest, call: CallContext
    ) -> auth_pb2.RevokeKeyResponse:
        """AuthService.RevokeKey."""
        await self._keys.revoke(_caller(call), request.key_id)
        return auth_pb2.RevokeKeyResponse()

    async def CreateAccount(
        self, request: auth_pb2.CreateAccountRequest, call: CallContext
    ) -> auth_pb2.CreateAccountResponse:
        """AuthService.CreateAccount."""
        account = await self._accounts.create(request.name, request.plan)
        return auth_pb2.CreateAccountResponse(account=account_message(account))

    async def ListAccounts(
        self, request: auth_pb2.ListAccountsRequest, call: CallContext
    ) -> auth_pb2.ListAccountsResponse:
        """AuthService.ListAccounts."""
        accounts = await self._accounts.list()
        return auth_pb2.ListAccountsResponse(accounts=[account_message(account) for account in accounts])


def _caller(call: CallContext) -> Principal:
    if call.principal is None:
        raise RuntimeError("a call that needs a scope was let in without a principal")
    return call.principal


def _default_policy(call: CallContext) -> str:
    """Keys made over REST are `standard`, those of the command line, which speaks gRPC as the operator,
    `enterprise` (RATE-11). A REST call's endpoint is a route template, not an RPC name."""
    over_rest = not call.record.endpoint.startswith("/")
    return DEFAULT_POLICY if over_rest or OPERATOR not in _caller(call).scopes else OPERATOR_POLICY

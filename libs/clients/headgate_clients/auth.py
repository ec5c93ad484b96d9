"""Client of headgate.auth.v1.AuthService; effects and errors stand in its proto."""

from typing import cast

from headgate.auth.v1 import auth_pb2
from headgate.auth.v1.auth_pb2 import (
    AuthenticateRequest,
    AuthenticateResponse,
    CreateAccountRequest,
    CreateAccountResponse,
    CreateKeyRequest,
    CreateKeyResponse,
    ListAccountsRequest,
    ListAccountsResponse,
    ListKeysRequest,
    ListKeysResponse,
    RevokeKeyRequest,
    RevokeKeyResponse,
    WatchCredentialsRequest,
    WatchCredentialsResponse,
)
from headgate_rpc.call import methods_of
from headgate_rpc.channel import NO_OPTIONS, Channel, Options, Reply, StreamReply

METHODS = methods_of(auth_pb2.DESCRIPTOR.services_by_name["AuthService"])


class AuthClient:
    """Calls AuthService over `channel`. Faults are HeadgateError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def authenticate(
        self, request: AuthenticateRequest, options: Options = NO_OPTIONS
    ) -> Reply[AuthenticateResponse]:
        """AuthService.Authenticate."""
        reply = await self._channel.unary(METHODS["Authenticate"], request, options)
        return cast("Reply[AuthenticateResponse]", reply)

    async def watch_credentials(
        self, request: WatchCredentialsRequest, options: Options = NO_OPTIONS
    ) -> StreamReply[WatchCredentialsResponse]:
        """AuthService.WatchCredentials."""
        reply = await self._channel.stream(METHODS["WatchCredentials"], request, options)
        return cast("StreamReply[WatchCredentialsResponse]", reply)

    async def create_key(
        self, request: CreateKeyRequest, options: Options = NO_OPTIONS
    ) -> Reply[CreateKeyResponse]:
        """AuthService.CreateKey."""
        reply = await self._channel.unary(METHODS["CreateKey"], request, options)
        return cast("Reply[CreateKeyResponse]", reply)

    async def list_keys(
        self, request: ListKeysRequest, options: Options = NO_OPTIONS
    ) -> Reply[ListKeysResponse]:
        """AuthService.ListKeys."""
        reply = await self._channel.unary(METHODS["ListKeys"], request, options)
        return cast("Reply[ListKeysResponse]", reply)

    async def revoke_key(
        self, request: RevokeKeyRequest, options: Options = NO_OPTIONS
    ) -> Reply[RevokeKeyResponse]:
        """AuthService.RevokeKey."""
        reply = await self._channel.unary(METHODS["RevokeKey"], request, options)
        return cast("Reply[RevokeKeyResponse]", reply)

    async def create_account(
        self, request: CreateAccountRequest, options: Options = NO_OPTIONS
    ) -> Reply[CreateAccountResponse]:
        """AuthService.CreateAccount."""
        reply = await self._channel.unary(METHODS["CreateAccount"], request, options)
        return cast("Reply[CreateAccountResponse]", reply)

    async def list_accounts(
        self, request: ListAccountsRequest, options: Options = NO_OPTIONS
    ) -> Reply[ListAccountsResponse]:
        """AuthService.ListAccounts."""
        reply = await self._channel.unary(METHODS["ListAccounts"], request, options)
        return cast("Reply[ListAccountsResponse]", reply)

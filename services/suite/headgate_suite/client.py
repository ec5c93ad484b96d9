"""How the command line reaches a running suite: gRPC, with the user's key or the bootstrap key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_settings import environment, load
from headgate_suite.client_settings import ClientSettings

BOOTSTRAP_KEY = "bootstrap-key"
CANNOT_REACH = (
    "No suite answers at {target}: start it with `headgate up`, or set HEADGATE_GRPC (HEADGATE_AUTH_TARGET and "
    "HEADGATE_INFERENCE_TARGET where services run apart)."
)


def client_settings() -> ClientSettings:
    """The settings in force. Raises SettingsError."""
    return load(ClientSettings, environment())


def options(settings: ClientSettings) -> Options:
    """Metadata with the credential. Raises HeadgateError when there is none."""
    key = settings.api_key.reveal()
    file = settings.data / BOOTSTRAP_KEY
    if not key and file.is_file():
        key = file.read_text().strip()
    if not key:
        raise HeadgateError(
            Reason.UNAUTHORIZED, f"No key: set HEADGATE_API_KEY, or run where {file} is (HEADGATE_DATA)."
        )
    return Options({"authorization": f"Bearer {key}"})


@asynccontextmanager
async def connected(target: str) -> AsyncIterator[GrpcChannel]:
    """A channel to the suite, or to one of its services. When nobody answers there, the error says what to do."""
    channel = GrpcChannel(target)
    try:
        yield channel
    except HeadgateError as error:
        if error.reason is Reason.SERVICE_UNAVAILABLE:
            raise HeadgateError(error.reason, CANNOT_REACH.format(target=target)) from error
        raise
    finally:
        await channel.close()

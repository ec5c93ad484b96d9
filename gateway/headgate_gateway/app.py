"""The composition root: everything the gateway consists of, put together in one place."""

from dataclasses import dataclass

from headgate_clients.auth import AuthClient
from headgate_clients.inference import InferenceClient
from headgate_clients.metering import MeteringClient
from headgate_clients.registry import RegistryClient
from headgate_clock import Clock, SystemClock
from headgate_gateway.chat.routes import Chat
from headgate_gateway.dispatch import Gateway, Route
from headgate_gateway.embeddings import Embeddings
from headgate_gateway.exchange import Edge, EdgeObserver
from headgate_gateway.health import FailingParts, Health
from headgate_gateway.keys import Keys
from headgate_gateway.limits import Limits
from headgate_gateway.models import Models
from headgate_gateway.refusals import Refusals
from headgate_gateway.server import GatewayServer
from headgate_gateway.settings import GatewaySettings
from headgate_gateway.usage import Usage
from headgate_rpc.channel import Channel


@dataclass(frozen=True, slots=True)
class Clients:
    """The services behind the gateway."""

    inference: InferenceClient
    auth: AuthClient
    registry: RegistryClient
    metering: MeteringClient

    @classmethod
    def over(cls, channel: Channel) -> "Clients":
        """All of them on one channel, as in one process."""
        return cls(
            InferenceClient(channel), AuthClient(channel), RegistryClient(channel), MeteringClient(channel)
        )


def build(
    settings: GatewaySettings,
    clients: Clients,
    edge_finished: EdgeObserver,
    failing: FailingParts,
    clock: Clock | None = None,
) -> Gateway:
    """The ASGI application. `edge_finished` gets the record of every request, `failing` names what is not ready."""
    edge = _edge(settings, edge_finished, clock)
    return Gateway(edge, clients.inference, _routes(settings, clients, failing))


def build_server(settings: GatewaySettings, gateway: Gateway, *, reuse_port: bool = False) -> GatewayServer:
    """The listener for an application made by `build`, on the address of the settings."""
    limits = Limits(
        header_bytes=settings.header_limit,
        header_fields=settings.header_fields,
        header_timeout=settings.header_timeout,
        body_timeout=settings.body_timeout,
        write_timeout=settings.write_timeout,
        idle_timeout=settings.idle_timeout,
    )
    return GatewayServer(
        gateway.serve,
        Refusals(gateway.edge),
        settings.http.host,
        settings.http.port,
        limits=limits,
        reuse_port=reuse_port,
    )


def _edge(settings: GatewaySettings, edge_finished: EdgeObserver, clock: Clock | None) -> Edge:
    return Edge(
        clock=clock or SystemClock(),
        observer=edge_finished,
        proxies=settings.proxy_networks,
        languages=settings.accept_language,
    )


def _routes(settings: GatewaySettings, clients: Clients, failing: FailingParts) -> list[Route]:
    chat = Chat(clients.inference, settings.chat_limit, settings.stream_keep_alive)
    embeddings = Embeddings(clients.inference, settings.json_limit)
    models = Models(clients.registry, settings.call_timeout)
    usage = Usage(clients.metering, settings.call_timeout)
    keys = Keys(clients.auth, settings.json_limit, settings.call_timeout)
    health = Health(failing)
    return [
        Route("/v1/chat/completions", {"POST": chat.completions}, rate_class="chat"),
        Route("/v1/chat/stream", {"POST": chat.stream}, rate_class="chat"),
        Route("/v1/embeddings", {"POST": embeddings.create}, rate_class="embeddings"),
        Route("/v1/models", {"GET": models.list}),
        Route("/v1/models/{id:path}", {"GET": models.get}),
        Route("/v1/usage", {"GET": usage.get}),
        Route("/v1/keys", {"GET": keys.list, "POST": keys.create}),
        Route("/v1/keys/{id}", {"DELETE": keys.delete}),
        Route("/healthz", {"GET": health.alive}, public=True),
        Route("/readyz", {"GET": health.ready}, public=True),
    ]

"""What an inference service stands on, around one host: a catalogue and routes that a test sets, admission among
fakes, a real journal, and a client that calls from outside."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from headgate.inference.v1 import inference_pb2 as pb
from headgate.metering.v1.metering_pb2 import EVENT_KIND_INTENT, EVENT_KIND_SETTLE, EventKind, UsageEvent
from headgate.registry.v1 import registry_pb2 as registry
from headgate.routing.v1 import routing_pb2 as routing
from headgate_clients.inference import InferenceClient
from headgate_clients.registry import RegistryClient
from headgate_clients.routing import RoutingClient
from headgate_journal import Journal, JournalLimits
from headgate_rpc.call import CallContext, Peer
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_rpc.watch import WatchSource
from headgate_settings.config import ConfigFile
from headgate_telemetry.record import CallRecord
from headgate_testing.admission import AdmissionRig

PRICE = registry.Price(version="p1", input_pico_usd=1_000_000, output_pico_usd=2_000_000)
LIMITS = JournalLimits(reserve_bytes=4096, slots=64)


class _Registry:
    def __init__(self, source: WatchSource[registry.CatalogueItem]) -> None:
        self._source = source

    def WatchCatalogue(
        self, request: registry.WatchCatalogueRequest, call: CallContext
    ) -> AsyncIterator[registry.WatchCatalogueResponse]:
        return self._source.follow(request.position, registry.WatchCatalogueResponse)

    async def ListModels(self, request: object, call: object) -> registry.ListModelsResponse:
        return registry.ListModelsResponse()

    async def GetModel(self, request: object, call: object) -> registry.GetModelResponse:
        return registry.GetModelResponse()


class _Routing:
    def __init__(self, source: WatchSource[routing.Route]) -> None:
        self._source = source

    def WatchRoutes(
        self, request: routing.WatchRoutesRequest, call: CallContext
    ) -> AsyncIterator[routing.WatchRoutesResponse]:
        return self._source.follow(request.position, routing.WatchRoutesResponse)


class Observer:
    """Keeps the records of finished inference calls; `ended` is notified of each."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.ended = asyncio.Condition()

    def started(self, call: CallContext) -> None:
        """See headgate_rpc.host.Observer."""

    def finished(self, call: CallContext, error: HeadgateError | None) -> None:
        """See headgate_rpc.host.Observer."""
        if call.record.operation:
            self.records.append(call.record)


class DataPlane:
    """Put the catalogue together, build the service from `parts`, then `serve` it."""

    def __init__(self, folder: Path, config: str = "") -> None:
        (folder / "headgate.yaml").write_text(config)
        self.rig = AdmissionRig()
        self.clock = self.rig.clock
        self.journal = Journal.open(folder / "journal", clock=self.clock, limits=LIMITS)
        self.observer = Observer()
        self.config_file = ConfigFile(folder / "headgate.yaml", {})
        self.config_file.read()
        self.key = self.rig.add("inference")
        self._items: WatchSource[registry.CatalogueItem] = WatchSource()
        self._routes: WatchSource[routing.Route] = WatchSource()
        self._host = Host(self.rig.admission, self.observer, self.clock)
        inside = InprocChannel(self._host)
        self.registry = RegistryClient(inside)
        self.routing = RoutingClient(inside)
        self._host.add(registry.DESCRIPTOR.services_by_name["RegistryService"], _Registry(self._items))
        self._host.add(routing.DESCRIPTOR.services_by_name["RoutingService"], _Routing(self._routes))
        outside = InprocChannel(self._host, Peer("192.0.2.1", inside=False))
        self.client = InferenceClient(outside)

    def provider(
        self, name: str, base_url: str = "", kind: str = "openai", timeouts: registry.Timeouts | None = None
    ) -> None:
        """Add a provider."""
        provider = registry.Provider(name=name, type=kind, base_url=base_url)
        if base_url:
            provider.credential_ref = f"file:providers.{name}"
        if timeouts is not None:
            provider.timeouts.CopyFrom(timeouts)
        self._items.publish({f"provider/{name}": registry.CatalogueItem(provider=provider)})

    def model(
        self,
        name: str,
        *providers: str,
        upstream_id: str = "",
        fallbacks: Sequence[str] = (),
        **fields: object,
    ) -> None:
        """Add a text model with one deployment at each provider, and its route; `fields` as in registry.Model."""
        deployments = [
            registry.Deployment(
                id=f"{each}/{upstream_id or name}", provider=each, upstream_id=upstream_id or name, weight=1
            )
            for each in providers
        ]
        given: Mapping[str, object] = {"type": registry.MODEL_TYPE_TEXT, "price": PRICE, **fields}
        model = registry.Model(id=name, deployments=deployments, **given)  # type: ignore[arg-type]
        self._items.publish({f"model/{name}": registry.CatalogueItem(model=model)})
        candidates = [
            routing.Candidate(
                id=f"{name}@{each.id}",
                model=name,
                provider=each.provider,
                upstream_id=each.upstream_id,
                weight=1,
            )
            for each in deployments
        ]
        self.route(name, candidates, fallbacks)

    def route(
        self, name: str, candidates: Sequence[routing.Candidate], fallbacks: Sequence[str] = ()
    ) -> None:
        """Set a route."""
        self._routes.publish({name: routing.Route(name=name, candidates=candidates, fallbacks=fallbacks)})

    def alias(self, name: str, model: str) -> None:
        """Add another name for a model."""
        self.route(name, self._routes.items[model].candidates)

    async def serve(self, servicer: object) -> None:
        """Add the inference servicer to the host and let admission follow."""
        self._host.add(pb.DESCRIPTOR.services_by_name["InferenceService"], servicer)
        await self.rig.start()

    def options(self, timeout: float | None = None, request_id: str = "r-1") -> Options:
        """Options of a call with this plane's key."""
        return Options({"authorization": f"Bearer {self.key}", "x-request-id": request_id}, timeout)

    def events(self, kind: "EventKind.ValueType") -> list[UsageEvent]:
        """What the journal holds of one kind, in order."""
        return [event for event in self.journal.read(1) if event.kind == kind]

    def only_settle(self) -> UsageEvent:
        """The settle of the only call there was, checked to be the only one, with its intent before it."""
        settles, intents = self.events(EVENT_KIND_SETTLE), self.events(EVENT_KIND_INTENT)
        if len(settles) != 1 or len(intents) != 1 or settles[0].call.call_id != intents[0].call.call_id:
            raise AssertionError(f"{len(intents)} intents and {len(settles)} settles")
        return settles[0]

    async def close(self) -> None:
        """Stop following and close the journal."""
        await self.rig.admission.stop()
        self.journal.close()


def chat(model: str, text: str = "one two three", **fields: object) -> pb.GenerationSpec:
    """A generation of one user message; `fields` as in GenerationSpec."""
    message = pb.Message(role=pb.ROLE_USER, text=text)
    return pb.GenerationSpec(model=model, messages=[message], **fields)  # type: ignore[arg-type]

"""What every adapter offers, and what it is told of the attempt it serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from headgate.inference.v1 import inference_pb2 as pb
from headgate.registry.v1.registry_pb2 import Price
from headgate_inference.adapters.transport import Target
from headgate_money import Rates


@dataclass(frozen=True, slots=True)
class Timers:
    """Timeouts of one provider, seconds."""

    connect: float
    first_token: float
    idle: float
    total: float


@dataclass(frozen=True, slots=True)
class Model:
    """What the request path must know of a model. `dimensions` and `max_output` are 0 where unknown."""

    id: str
    is_embedding: bool
    dimensions: int
    max_output: int
    drop_params: bool
    ignored_params: frozenset[str]
    price: Price
    rates: Rates


class Attempt(Struct, gc=False):
    """One try at one deployment of `model`. `target` is None where nothing is sent over a network; `deadline` and
    `first_token_by` are on the loop's clock. `http_status` is filled in by the adapter, 0 until an answer came."""

    model: Model
    upstream_id: str
    account_id: str
    target: Target | None
    headers: dict[str, str]
    deadline: float
    first_token_by: float
    http_status: int = 0


class Batch(Struct, frozen=True, gc=False):
    """Events that were ready together. `units` counts the pieces of content in them."""

    events: Sequence[pb.StreamEvent]
    units: int


class EventStream(Protocol):
    """A running stream. The attributes are complete once `read` has returned None, `id` and `created` (empty and
    0 where the provider gives none) with the first batch. Events hold no usage; `usage_extra` is what else stood
    beside the usage, a JSON object or empty."""

    id: str
    created: int
    usage: pb.Usage | None
    usage_extra: bytes
    finish_reasons: list[str]

    @property
    def complete(self) -> bool:
        """Whether everything has been read: the next `read` would return None at once."""

    async def read(self) -> Batch | None:
        """What comes next, None once the stream is complete. Raises AttemptFault, also when it ends before it is
        complete. May be called from different tasks, one after the other."""

    def close(self) -> None:
        """Stop the provider at once, if it still runs. Idempotent, never waits."""


class Adapter(Protocol):
    """Speaks to one kind of provider. Faults are AttemptFault; a request that cannot be expressed is
    HeadgateError. A whole reply keeps to `attempt.deadline` by itself, a stream until `stream` returns."""

    async def generate(self, attempt: Attempt, spec: pb.GenerationSpec) -> pb.GenerateResponse:
        """One whole reply; `usage` is absent where the provider gave none, `id` and `created` may be empty."""

    async def stream(self, attempt: Attempt, spec: pb.GenerationSpec) -> EventStream:
        """Begin a stream; returns when the provider has accepted."""

    async def embed(self, attempt: Attempt, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """One vector for each input."""

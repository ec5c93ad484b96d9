"""What `headgate.yaml` says, as frozen dataclasses. `line` is where it stands, from 1; it takes no part in
equality, so that moving a line is no change."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from headgate_settings.quantities import Seconds
from headgate_settings.secret import Secret

PROVIDER_TYPES = ("openai", "mock", "local")
MODEL_TYPES = ("text", "embedding", "image", "audio")
# The others come with scoring; a word without effect is refused until then.
OBJECTIVES = ("balanced",)
RATE_CLASSES = ("default", "chat", "embeddings")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class TimeoutsConfig:
    """Timers of calls to a provider; None means the default."""

    connect: Seconds | None = None
    first_token: Seconds | None = None
    idle: Seconds | None = None
    total: Seconds | None = None


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """Someone who runs models. `base_url` has no slash at its end; `options_json` is a JSON object or empty."""

    name: str
    type: str
    base_url: str = ""
    api_key: Secret = Secret()  # noqa: RUF009 -- a Secret does not change
    timeouts: TimeoutsConfig = TimeoutsConfig()
    options_json: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PriceConfig:
    """Pico-USD per token (or per call); None for the cached price means the input price."""

    input_pico_usd: int
    output_pico_usd: int
    cached_input_pico_usd: int | None = None
    request_pico_usd: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    """One place where a model runs; `weight` is its share of traffic, at least 1."""

    provider: str
    upstream_id: str
    weight: int = 1
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model that clients may ask for; 0 means unknown in the sizes (tokens, vector length)."""

    id: str
    deployments: tuple[DeploymentConfig, ...]
    type: str = "text"
    capabilities: tuple[str, ...] = ()
    context_length: int = 0
    max_output: int = 0
    dimensions: int = 0
    price: PriceConfig | None = None
    owned_by: str = ""
    description: str = ""
    drop_params: bool = False
    ignored_params: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AliasTargetConfig:
    """One meaning of an alias."""

    model: str
    weight: int = 1
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AliasConfig:
    """Another name for one model, or for several with weights."""

    name: str
    targets: tuple[AliasTargetConfig, ...]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """The models to try, in order, when every deployment of `model` failed before the first byte."""

    model: str
    fallbacks: tuple[str, ...]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """How calls find their deployment."""

    default_objective: str = "balanced"
    fallbacks: tuple[FallbackConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """Limits of one class of endpoints; None means no limit, for `burst` the figure per minute."""

    rate_class: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """A rate policy: replaces the built-in one of that name, or adds one."""

    name: str
    limits: tuple[LimitConfig, ...]
    per_address: bool = False
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What URLs given by tenants may reach beyond public addresses."""

    allowed: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file; an absent or empty file is `Config()`."""

    providers: tuple[ProviderConfig, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    aliases: tuple[AliasConfig, ...] = ()
    routing: RoutingConfig = RoutingConfig()
    policies: tuple[PolicyConfig, ...] = ()
    network: NetworkConfig = NetworkConfig()
    file: str = field(default="headgate.yaml", compare=False)

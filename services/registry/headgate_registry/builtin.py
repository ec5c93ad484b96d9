"""The models that always work: they run in this suite and need no key."""

from headgate_registry.entries import Entries, Source
from headgate_settings.config import DeploymentConfig, ModelConfig, PriceConfig, ProviderConfig

LOCAL = "local"

_FREE = PriceConfig(input_pico_usd=0, output_pico_usd=0)

# The fields of a request that shape sampling: nothing is sampled here.
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
)

_MINILM = ModelConfig(
    id="local-minilm",
    deployments=(DeploymentConfig(LOCAL, "local-minilm"),),
    type="embedding",
    capabilities=("embedding",),
    context_length=8192,
    dimensions=384,
    price=_FREE,
    owned_by="headgate",
    description=(
        "all-MiniLM-L6-v2 on this machine. Vectors of 384 numbers, length 1. Texts of over 256 word pieces get the "
        "length-weighted mean of windows, up to 8,192 word pieces; longer ones are refused."
    ),
)

_EXTRACTIVE = ModelConfig(
    id="local-extractive",
    deployments=(DeploymentConfig(LOCAL, "local-extractive"),),
    type="text",
    capabilities=("chat",),
    context_length=131_072,
    price=_FREE,
    owned_by="headgate",
    description=(
        "Extractive: answers and summarises with sentences taken from the text in the request, and writes no new "
        "text. Says so when nothing in the text fits. Knows nothing beyond the request. Tools, JSON mode, images "
        "and more than one choice are refused; sampling parameters are accepted and have no effect."
    ),
    ignored_params=_SAMPLING,
)

BUILTIN = Entries(Source.BUILTIN, providers=(ProviderConfig(LOCAL, "local"),), models=(_MINILM, _EXTRACTIVE))

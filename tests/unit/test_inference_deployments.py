"""What the request path looks up is made when the catalogue changes, with the provider's key in its place."""

from pathlib import Path

from headgate.registry.v1 import registry_pb2 as registry
from headgate_inference.adapters.mock import MockAdapter
from headgate_inference.deployments import DeploymentBuilder
from headgate_inference.provider_keys import ProviderKeys
from headgate_settings import Secret
from headgate_settings.config import ConfigFile

CONFIG = "providers: [{name: a, type: openai, base_url: 'http://h/v1', api_key: sk-file}]"
MODEL = registry.Model(
    id="m",
    type=registry.MODEL_TYPE_TEXT,
    deployments=[
        registry.Deployment(id="a/up", provider="a", upstream_id="up", weight=1),
        registry.Deployment(id="gone/up", provider="gone", upstream_id="up", weight=1),
        registry.Deployment(id="odd/up", provider="odd", upstream_id="up", weight=1),
    ],
)


def items(*providers: registry.Provider) -> list[registry.CatalogueItem]:
    made = [registry.CatalogueItem(provider=provider) for provider in providers]
    return [*made, registry.CatalogueItem(model=MODEL)]


def builder() -> DeploymentBuilder:
    return DeploymentBuilder({"openai": MockAdapter()}, lambda ref: Secret(f"key of {ref}"))


def test_a_deployment_is_ready_to_be_called() -> None:
    provider = registry.Provider(
        name="a",
        type="openai",
        base_url="http://h:1/v1/",
        credential_ref="env:X",
        timeouts=registry.Timeouts(idle_ms=1500),
    )
    (deployment,) = builder().build(items(provider)).by_id.values()
    assert deployment.id == "m@a/up"
    assert deployment.chat is not None
    assert str(deployment.chat.url) == "http://h:1/v1/chat/completions"
    assert b"Bearer key of env:X\r\n" in deployment.chat.template.request({}, b"")
    assert (deployment.address, deployment.timers.idle, deployment.timers.connect) == ("h", 1.5, 3.0)
    assert deployment.metadata == {"x-model-provider": "a", "x-model-id": "m", "x-cache": "BYPASS"}
    assert deployment.model.price.version == "flat"


def test_deployments_that_cannot_be_called_are_left_out() -> None:
    odd = registry.Provider(name="odd", type="unheard-of", base_url="http://h/v1")
    broken = registry.Provider(name="a", type="openai", base_url="ftp://h/v1")
    built = builder().build(items(odd, broken))
    assert not built.by_id
    assert list(built.models) == ["m"]


def test_keys_are_found_where_the_catalogue_says(tmp_path: Path) -> None:
    (tmp_path / "headgate.yaml").write_text(CONFIG)
    file = ConfigFile(tmp_path / "headgate.yaml", {})
    file.read()
    keys = ProviderKeys(file, {"X": "sk-env"})
    assert keys("env:X") == Secret("sk-env")
    assert keys("file:providers.a") == Secret("sk-file")
    assert not any((keys("env:Y"), keys("file:providers.b"), keys("elsewhere:x"), keys("")))

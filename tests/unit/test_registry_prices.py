"""Prices: the file's own, else the public list, else none."""

import pytest

from headgate.registry.v1.registry_pb2 import CatalogueItem
from headgate_registry import price_data
from headgate_registry.builtin import BUILTIN
from headgate_registry.catalogue import merge
from headgate_registry.entries import Entries, Source, entries_of_file
from headgate_registry.environment import entries_of_environment
from headgate_registry.messages import Writer
from headgate_registry.settings import RegistrySettings
from headgate_settings import Secret, SettingsError
from headgate_settings.config import DeploymentConfig, ModelConfig, PriceConfig, ProviderConfig, parse_config

NOW_S = 1_760_000_000


def items(*sources: Entries) -> dict[str, CatalogueItem]:
    return Writer(NOW_S, price_data.price_of).items(merge(sources))


def from_file(text: str) -> Entries:
    return entries_of_file(parse_config(text.encode(), "headgate.yaml", {}))


def test_the_public_list_is_used_when_the_file_is_silent() -> None:
    built = items(
        from_file(
            "providers: [{name: openai, type: openai}]\nmodels: [{id: mini, provider: openai, upstream_id: gpt-4o-mini}]"
        )
    )
    price = built["model/mini"].model.price
    assert (price.input_pico_usd, price.output_pico_usd, price.cached_input_pico_usd) == (
        150_000,
        600_000,
        75_000,
    )
    assert len(price.version) == 12


def test_the_address_tells_the_provider_before_its_name() -> None:
    text = "providers: [{name: fast, type: openai, base_url: 'https://api.groq.com/openai/v1'}]\nmodels: [{id: m, provider: fast, upstream_id: llama-3.3-70b-versatile}]"
    assert items(from_file(text))["model/m"].model.price.input_pico_usd == 590_000


def test_the_figures_of_the_file_win() -> None:
    text = "providers: [{name: openai, type: openai}]\nmodels: [{id: gpt-4o-mini, provider: openai, price: {input_per_1m: 1}}]"
    price = items(from_file(text))["model/gpt-4o-mini"].model.price
    assert (price.input_pico_usd, price.output_pico_usd) == (1_000_000, 0)
    assert not price.HasField("cached_input_pico_usd")


def test_what_nobody_knows_has_no_price() -> None:
    text = "providers: [{name: mine, type: openai, base_url: 'http://10.0.0.7/v1'}]\nmodels: [{id: gpt-4o, provider: mine}]"
    assert not items(from_file(text))["model/gpt-4o"].model.HasField("price")


def test_servers_that_were_discovered_have_no_list_price() -> None:
    found = Entries(
        Source.DISCOVERED,
        (ProviderConfig("openai", "openai", "http://127.0.0.1:8000/v1"),),
        (ModelConfig("gpt-4o", (DeploymentConfig("openai", "gpt-4o"),)),),
    )
    assert not items(found)["model/gpt-4o"].model.HasField("price")


def test_built_in_models_are_free() -> None:
    price = items(BUILTIN)["model/local-minilm"].model.price
    assert (price.input_pico_usd, price.output_pico_usd, price.request_pico_usd) == (0, 0, 0)


def test_the_version_names_the_figures() -> None:
    def version(text: str) -> str:
        return items(
            from_file(
                f"providers: [{{name: p, type: mock}}]\nmodels: [{{id: m, provider: p, price: {{{text}}}}}]"
            )
        )["model/m"].model.price.version

    assert version("input_per_1m: 1") == version("input_per_1m: 1.0")
    assert version("input_per_1m: 1") != version("input_per_1m: 2")
    assert version("input_per_1m: 1") != version("output_per_1m: 1")
    assert version("input_per_1m: 1") != version("input_per_1m: 1, cached_input_per_1m: 0")


def test_a_price_that_rises_with_length_counts_as_its_first_step() -> None:
    price = price_data.price_of("openai", "https://api.openai.com/v1", "gpt-5.4", NOW_S * 1000)
    assert price == PriceConfig(2_500_000, 15_000_000, 250_000)


def test_an_openai_key_brings_the_well_known_models() -> None:
    found = entries_of_environment(RegistrySettings(openai_api_key=Secret("sk-1")))
    built = items(found, BUILTIN)
    provider = built["provider/openai"].provider
    assert (provider.base_url, provider.credential_ref, provider.source) == (
        "https://api.openai.com/v1",
        "env:OPENAI_API_KEY",
        "environment",
    )
    mini = built["model/gpt-4o-mini"].model
    assert (mini.context_length, mini.price.input_pico_usd) == (128_000, 150_000)
    assert list(built["model/text-embedding-3-small"].model.capabilities) == ["embedding"]
    assert not any("audio" in key or "tts" in key or "image" in key for key in built)
    assert "sk-1" not in str(built)


def test_without_a_key_the_environment_brings_nothing() -> None:
    assert entries_of_environment(RegistrySettings()) == Entries(Source.ENVIRONMENT)


def test_keys_without_an_adapter_are_said_to_be_unused(caplog: pytest.LogCaptureFixture) -> None:
    settings = RegistrySettings(anthropic_api_key=Secret("sk-ant-1"), gemini_api_key=Secret("AIza-1"))
    assert entries_of_environment(settings) == Entries(Source.ENVIRONMENT)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "ANTHROPIC_API_KEY is set but not used" in caplog.text
    assert "sk-ant-1" not in caplog.text


def test_a_base_url_that_is_none_names_its_variable() -> None:
    settings = RegistrySettings(openai_api_key=Secret("sk-1"), openai_base_url="localhost:8000")
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL"):
        entries_of_environment(settings)

"""Four sources make one catalogue; the higher one wins, and what refers to nothing is refused."""

import pytest

from headgate_registry.builtin import BUILTIN
from headgate_registry.catalogue import Catalogue, merge
from headgate_registry.checks import check
from headgate_registry.entries import Entries, Source, entries_of_file
from headgate_settings.config import (
    Config,
    ConfigError,
    DeploymentConfig,
    ModelConfig,
    ProviderConfig,
    parse_config,
)


def config(text: str) -> Config:
    return parse_config(text.encode(), "headgate.yaml", {})


def offer(source: Source, provider: str, *models: str) -> Entries:
    """A source with one provider that runs some models."""
    return Entries(
        source,
        (ProviderConfig(provider, "openai", f"http://{source}"),),
        tuple(ModelConfig(id, (DeploymentConfig(provider, id),)) for id in models),
    )


def sources_of(catalogue: Catalogue) -> dict[str, str]:
    return {id: source.value for id, (_, source) in catalogue.models.items()}


FILE_OPENAI = "providers: [{name: openai, type: openai}]\nmodels: [{id: a, provider: openai}]\n"


def test_on_equal_ids_the_higher_source_wins() -> None:
    catalogue = merge(
        [
            entries_of_file(config("models: [{id: a, provider: env}]")),
            offer(Source.ENVIRONMENT, "env", "a", "b"),
            offer(Source.DISCOVERED, "found", "b", "c", "local-minilm"),
            BUILTIN,
        ]
    )
    assert sources_of(catalogue) == {
        "a": "file",
        "b": "environment",
        "c": "discovered",
        "local-minilm": "discovered",
        "local-extractive": "builtin",
    }


def test_a_provider_of_the_file_hides_the_one_of_the_environment_with_its_models() -> None:
    catalogue = merge(
        [entries_of_file(config(FILE_OPENAI)), offer(Source.ENVIRONMENT, "openai", "gpt-4o"), BUILTIN]
    )
    assert "gpt-4o" not in catalogue.models
    assert catalogue.providers["openai"][1] is Source.FILE


def test_an_alias_of_the_file_hides_a_lower_model_of_that_name() -> None:
    text = "aliases: {gpt-4o: local-extractive}"
    catalogue = merge([entries_of_file(config(text)), offer(Source.ENVIRONMENT, "openai", "gpt-4o"), BUILTIN])
    assert "gpt-4o" in catalogue.aliases
    assert "gpt-4o" not in catalogue.models


def test_the_built_in_models_need_nothing() -> None:
    catalogue = merge([Entries(Source.FILE), Entries(Source.ENVIRONMENT), BUILTIN])
    assert set(catalogue.models) == {"local-minilm", "local-extractive"}
    check(Config(), [BUILTIN])


def test_the_ids_of_the_documents_can_be_aliases_of_local_models() -> None:
    ids = "gpt-4 gpt-4-turbo gpt-3.5-turbo claude-3 claude-3-opus claude-3-haiku llama-2 llama-2-70b"
    text = "aliases:\n" + "".join(f"  {id}: local-extractive\n" for id in ids.split())
    text += "  text-embedding-ada-002: local-minilm\n"
    check(config(text), [BUILTIN])
    assert len(merge([entries_of_file(config(text)), BUILTIN]).aliases) == 9


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "models:\n- {id: a, provider: opnai}",
            "headgate.yaml:2: unknown provider 'opnai'; did you mean 'openai'?",
        ),
        (
            "models:\n- {id: a, provider: openai}\n- {id: a, provider: openai}",
            "headgate.yaml:3: the model 'a' stands in line 2 already",
        ),
        (
            "providers:\n- {name: p, type: mock}\n- {name: p, type: mock}",
            "headgate.yaml:3: the provider 'p' stands in line 2 already",
        ),
        (
            "providers:\n- {name: local, type: mock}",
            "headgate.yaml:2: the provider 'local' is built in; choose another name",
        ),
        (
            "models:\n- id: a\n  deployments:\n  - {provider: openai}\n  - {provider: openai}",
            "headgate.yaml:5: the deployment 'openai/a' stands here twice",
        ),
        (
            "aliases:\n  x: local-minlm",
            "headgate.yaml:2: unknown model 'local-minlm'; did you mean 'local-minilm'?",
        ),
        (
            "aliases:\n  x: llama3:8b",
            "headgate.yaml:2: unknown model 'llama3:8b'"
            " (a model that discovery finds must stand under models to be named here)",
        ),
        (
            "models:\n- {id: a, provider: openai}\naliases:\n  a: local-minilm",
            "headgate.yaml:4: the alias 'a' is the id of a model already",
        ),
        (
            "aliases:\n  x: local-minilm\n  y: x",
            "headgate.yaml:3: 'x' is an alias; name the model itself",
        ),
        (
            "routing:\n  fallbacks:\n    local-minilm: [nope]",
            "headgate.yaml:3: unknown model 'nope'"
            " (a model that discovery finds must stand under models to be named here)",
        ),
        (
            "routing:\n  fallbacks:\n    local-minilm: [local-minilm]",
            "headgate.yaml:3: 'local-minilm' cannot be its own fallback",
        ),
    ],
)
def test_names_that_stand_for_nothing_or_twice_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(config(text), [offer(Source.ENVIRONMENT, "openai", "gpt-4o"), BUILTIN])
    assert caught.value.problems == (problem,)


def test_every_problem_is_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        check(config("models:\n- {id: a, provider: b}\naliases: {x: y}"), [BUILTIN])
    assert len(caught.value.problems) == 2


def test_models_of_a_hidden_environment_provider_are_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown model 'gpt-4o'"):
        check(
            config(FILE_OPENAI + "aliases: {x: gpt-4o}"),
            [offer(Source.ENVIRONMENT, "openai", "gpt-4o"), BUILTIN],
        )

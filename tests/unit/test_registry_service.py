"""The registry as its callers see it: lists by grant, lookups, a watch that follows the file."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from headgate.registry.v1.registry_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    ModelType,
    WatchCatalogueRequest,
    WatchCatalogueResponse,
)
from headgate_registry.app import RegistryApp, build
from headgate_registry.settings import RegistrySettings
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_settings.config import ConfigError, ConfigFile
from headgate_testing.clock import FakeClock

TEXT = """\
providers:
  - {name: up, type: openai, base_url: "http://10.0.0.7/v1", api_key: k, timeout: {idle: 20s}}
  - {name: script, type: mock, options: {delay_ms: 1}}
models:
  - {id: big, provider: up, context_length: 1000, max_output: 10, owned_by: us, description: A card.}
  - {id: small, deployments: [{provider: up, weight: 3}, {provider: script, upstream_id: s}]}
aliases: {fast: small, mixed: [{model: big, weight: 9}, {model: small}]}
"""

ALL = ["big", "fast", "local-extractive", "local-minilm", "mixed", "small"]


def caller(*models: str) -> CallContext:
    """A call by a principal with these model grants; the registry reads nothing else of it."""
    return cast(CallContext, SimpleNamespace(principal=SimpleNamespace(models=frozenset(models))))


INSIDE = cast(CallContext, SimpleNamespace(principal=None))


class Registry:
    """A registry over a file in a folder."""

    def __init__(
        self, folder: Path, text: str = TEXT, *, found: Mapping[int, list[str]] | None = None
    ) -> None:
        self.path = folder / "headgate.yaml"
        self.path.write_text(text)
        self.file = ConfigFile(self.path, {})
        self.file.read()
        self.found = dict(found or {})
        self.app: RegistryApp = build(
            RegistrySettings(discovery="on" if found is not None else "off"),
            self.file,
            FakeClock(wall_ms=1_700_000_000_000),
            probe=self._probe,
        )

    async def _probe(self, port: int) -> list[str] | None:
        return self.found.get(port)

    async def ids(self, call: CallContext = INSIDE) -> list[str]:
        reply = await self.app.servicer.ListModels(ListModelsRequest(), call)
        return [model.id for model in reply.models]

    def reload(self, text: str) -> bool:
        self.path.write_text(text)
        return self.file.check_once()

    def watch(self) -> AsyncIterator[WatchCatalogueResponse]:
        return self.app.servicer.WatchCatalogue(WatchCatalogueRequest(), INSIDE)


async def test_models_and_aliases_are_listed_by_name(tmp_path: Path) -> None:
    assert await Registry(tmp_path).ids() == ALL


async def test_a_caller_sees_what_it_is_granted(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert await registry.ids(caller()) == ALL
    assert await registry.ids(caller("fast", "big", "gone")) == ["big", "fast"]


async def test_a_model_is_found_by_id_and_by_alias(tmp_path: Path) -> None:
    servicer = Registry(tmp_path).app.servicer
    big = (await servicer.GetModel(GetModelRequest(id="big"), INSIDE)).model
    assert (big.context_length, big.max_output, big.owned_by, big.description, big.created, big.source) == (
        1000,
        10,
        "us",
        "A card.",
        1_700_000_000,
        "file",
    )
    assert list(big.capabilities) == ["chat"]
    fast = (await servicer.GetModel(GetModelRequest(id="fast"), INSIDE)).model
    assert fast.id == "fast"
    assert [(each.id, each.weight) for each in fast.deployments] == [("up/small", 3), ("script/s", 1)]
    assert fast.owned_by == "up"


@pytest.mark.parametrize("grants", [(), ("small",)])
async def test_a_model_that_is_not_there_and_one_not_granted_look_the_same(
    tmp_path: Path, grants: tuple[str, ...]
) -> None:
    servicer = Registry(tmp_path).app.servicer
    name = "big" if grants else "gpt-5"
    with pytest.raises(HeadgateError) as caught:
        await servicer.GetModel(GetModelRequest(id=name), caller(*grants))
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    assert caught.value.field == "model"
    assert caught.value.message == f"The model '{name}' does not exist or you do not have access to it."


async def test_built_in_models_say_what_they_are(tmp_path: Path) -> None:
    servicer = Registry(tmp_path).app.servicer
    minilm = (await servicer.GetModel(GetModelRequest(id="local-minilm"), INSIDE)).model
    assert (minilm.type, minilm.dimensions, minilm.context_length) == (
        ModelType.MODEL_TYPE_EMBEDDING,
        384,
        8192,
    )
    extractive = (await servicer.GetModel(GetModelRequest(id="local-extractive"), INSIDE)).model
    assert "writes no new text" in extractive.description
    assert "temperature" in extractive.ignored_params


async def test_the_watch_begins_with_everything_and_hides_keys(tmp_path: Path) -> None:
    first = await anext(Registry(tmp_path).watch())
    assert first.part.last
    providers = {item.provider.name: item.provider for item in first.part.items if item.HasField("provider")}
    assert set(providers) == {"up", "script", "local"}
    assert providers["up"].credential_ref == "file:providers.up"
    assert providers["up"].timeouts.idle_ms == 20_000
    assert providers["up"].timeouts.total_ms == 0
    assert providers["script"].options_json == b'{"delay_ms": 1}'
    assert providers["script"].credential_ref == ""
    aliases = {item.alias.name: item.alias for item in first.part.items if item.HasField("alias")}
    assert [(each.model, each.weight) for each in aliases["mixed"].targets] == [("big", 9), ("small", 1)]


async def test_a_change_of_the_file_is_one_delta(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    watch = registry.watch()
    await anext(watch)
    assert registry.reload(TEXT.replace("max_output: 10", "max_output: 20").replace("fast: small, ", ""))
    delta = (await anext(watch)).delta
    assert [item.model.id for item in delta.upserts] == ["big"]
    assert list(delta.deletes) == ["alias/fast"]
    assert await registry.ids() == [id for id in ALL if id != "fast"]


async def test_moving_lines_is_no_change(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    before = (await anext(registry.watch())).position
    assert registry.reload("# a comment\n\n" + TEXT)
    assert (await anext(registry.watch())).position == before


@pytest.mark.parametrize("bad", ["modls: []", TEXT.replace("fast: small", "fast: smol")])
async def test_a_bad_change_keeps_the_old_catalogue_and_logs_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    registry = Registry(tmp_path)
    assert not registry.reload(bad)
    assert await registry.ids() == ALL
    assert len(caplog.records) == 1
    assert "headgate.yaml:" in caplog.text


def test_a_bad_file_at_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"headgate\.yaml:7: unknown model 'smol'; did you mean 'small'"):
        Registry(tmp_path, TEXT.replace("fast: small", "fast: smol"))


async def test_found_models_are_listed_from_the_start(tmp_path: Path) -> None:
    registry = Registry(tmp_path, found={11434: ["llama3:8b", "big"]})
    await registry.app.start()
    await registry.app.stop()
    assert await registry.ids() == sorted([*ALL, "llama3:8b"])
    assert (await registry.app.servicer.GetModel(GetModelRequest(id="big"), INSIDE)).model.source == "file"


async def test_without_discovery_nothing_is_asked(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.found = {11434: ["llama3:8b"]}
    await registry.app.start()
    await registry.app.stop()
    assert await registry.ids() == ALL


async def test_a_list_of_500_models_is_made_once(tmp_path: Path) -> None:
    models = "".join(f"  - {{id: m{i:03}, provider: up}}\n" for i in range(500))
    registry = Registry(tmp_path, TEXT.replace("aliases:", models + "aliases:"))
    first = await registry.app.servicer.ListModels(ListModelsRequest(), INSIDE)
    assert len(first.models) == 506
    assert await registry.app.servicer.ListModels(ListModelsRequest(), INSIDE) is first
    found = await registry.app.servicer.GetModel(GetModelRequest(id="m499"), INSIDE)
    assert found.model.deployments[0].upstream_id == "m499"

"""The config file: what it may say, and how it is told what it may not."""

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest

from headgate_settings import Seconds, Secret
from headgate_settings.config import (
    AliasConfig,
    AliasTargetConfig,
    Config,
    ConfigError,
    ConfigFile,
    DeploymentConfig,
    FallbackConfig,
    LimitConfig,
    PolicyConfig,
    PriceConfig,
    TimeoutsConfig,
    parse_config,
)

WHOLE = """\
providers:
  - {name: openai, type: openai, base_url: "https://api.example.com/v1/", api_key: "${OPENAI_API_KEY}", timeout: {connect: 3s, first_token: 30s, idle: 250ms, total: 10m}}
  - {name: spare,  type: openai, base_url: "http://10.0.0.7:8000/v1"}
  - {name: script, type: mock, options: {first_token_ms: 5, words: [a, b], nested: {ok: true, ratio: 0.5, none: null}}}
models:
  - id: gpt-4o-mini                # what clients ask for
    provider: openai
    upstream_id: gpt-4o-mini-2024
    type: text
    capabilities: [chat, tools, json]
    context_length: 128000
    max_output: 16384
    price: {input_per_1m: 0.15, output_per_1m: 0.60, cached_input_per_1m: 0.075, per_request: 0.01}
  - id: llama-2-70b
    deployments: [{provider: spare, upstream_id: llama70, weight: 3}, {provider: openai, weight: 1}]
  - {id: text-embedding-ada-002, provider: openai, type: embedding, dimensions: 1536, drop_params: true}
aliases: {claude-3: gpt-4o-mini, fast: [{model: gpt-4o-mini, weight: 9}, {model: llama-2-70b}]}
routing: {default_objective: balanced, fallbacks: {gpt-4o-mini: [llama-2-70b]}}
plans: {}
policies: {strict: {limits: {default: {requests_per_minute: 5, tokens_per_minute: 1000, burst: 2}, chat: {requests_per_minute: 1}}, per_address: true}}
network: {allowed: ["10.0.0.0/8", "::1/128"]}
"""


def read(text: str, **environ: str) -> Config:
    return parse_config(text.encode(), "headgate.yaml", environ)


def problems_of(text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return caught.value.problems


def test_every_section_is_read() -> None:
    config = read(WHOLE, OPENAI_API_KEY="sk-1")
    openai, spare, script = config.providers
    assert openai.base_url == "https://api.example.com/v1"
    assert openai.api_key == Secret("sk-1")
    assert openai.timeouts == TimeoutsConfig(Seconds(3), Seconds(30), Seconds(0.25), Seconds(600))
    assert not spare.api_key
    assert spare.line == 3
    assert script.options_json == (
        '{"first_token_ms": 5, "words": ["a", "b"], "nested": {"ok": true, "ratio": 0.5, "none": null}}'
    )
    mini, llama, ada = config.models
    assert mini.deployments == (DeploymentConfig("openai", "gpt-4o-mini-2024"),)
    assert mini.price == PriceConfig(150_000, 600_000, 75_000, 10_000_000_000)
    assert (mini.capabilities, mini.context_length, mini.max_output) == (
        ("chat", "tools", "json"),
        128000,
        16384,
    )
    assert llama.deployments == (
        DeploymentConfig("spare", "llama70", 3),
        DeploymentConfig("openai", "llama-2-70b"),
    )
    assert (ada.type, ada.dimensions, ada.drop_params, ada.price) == ("embedding", 1536, True, None)
    assert config.aliases == (
        AliasConfig("claude-3", (AliasTargetConfig("gpt-4o-mini"),)),
        AliasConfig("fast", (AliasTargetConfig("gpt-4o-mini", 9), AliasTargetConfig("llama-2-70b"))),
    )
    assert config.routing.default_objective == "balanced"
    assert config.routing.fallbacks == (FallbackConfig("gpt-4o-mini", ("llama-2-70b",)),)
    assert config.policies == (
        PolicyConfig(
            "strict", (LimitConfig("default", 5, 1000, 2), LimitConfig("chat", 1)), per_address=True
        ),
    )
    assert config.network.allowed == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize("text", ["", "# nothing\n", "models:\naliases:\n", "{}"])
def test_empty_is_the_empty_config(text: str) -> None:
    assert read(text) == Config()


def test_the_key_of_the_real_openai_needs_no_base_url() -> None:
    assert read("providers: [{name: openai, type: openai}]").providers[0].base_url == (
        "https://api.openai.com/v1"
    )


def test_no_printed_config_shows_a_key() -> None:
    assert "sk-1" not in repr(read(WHOLE, OPENAI_API_KEY="sk-1"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("provders: []", "headgate.yaml:1: unknown key 'provders'; did you mean 'providers'?"),
        (
            "models:\n  - id: a\n    provider: b\n    contxt_length: 5",
            "headgate.yaml:4: unknown key 'contxt_length'; did you mean 'context_length'?",
        ),
        (
            "models:\n  - id: a\n    provider: b\n    price: {input: 5, per_request: 0}",
            "headgate.yaml:4: unknown key 'input'",
        ),
        ("models: {a: b}", "headgate.yaml:1: 'models' must be a list"),
        ("models:\n  - a", "headgate.yaml:2: each item of 'models' must be a mapping of keys to values"),
        ("- a", "headgate.yaml:1: the file must be a mapping of keys to values"),
        ("models:\n- {provider: b}", "headgate.yaml:2: 'id' is missing"),
        ("models:\n- {id: '', provider: b}", "headgate.yaml:2: id: must not be empty"),
        ("models:\n- {id: a}", "headgate.yaml:2: 'provider' is missing"),
        ("models:\n- {id: 4, provider: b}", "headgate.yaml:2: id: must be text; put it in quotes"),
        (
            "models:\n- {id: [a], provider: b}",
            "headgate.yaml:2: id: must be one value, not a list or a mapping",
        ),
        (
            "models:\n- {id: a b, provider: b}",
            "headgate.yaml:2: id: 'a b' may not hold spaces, '@' or ',', nor more than 256 characters",
        ),
        (
            "models:\n- {id: a, provider: b, type: txt}",
            "headgate.yaml:2: type: 'txt' is not one of text, embedding, image, audio; did you mean 'text'?",
        ),
        (
            "models:\n- {id: a, provider: b, max_output: -1}",
            "headgate.yaml:2: max_output: -1 is not between 1 and 1000000000",
        ),
        (
            "models:\n- {id: a, provider: b, max_output: 1.5}",
            "headgate.yaml:2: max_output: must be a whole number",
        ),
        (
            "models:\n- {id: a, provider: b, max_output: 0x10}",
            "headgate.yaml:2: max_output: '0x10' is not a whole number",
        ),
        (
            "models:\n- {id: a, provider: b, drop_params: 1}",
            "headgate.yaml:2: drop_params: must be true or false",
        ),
        (
            "models:\n- {id: a, provider: b, capabilities: chat}",
            "headgate.yaml:2: 'capabilities' must be a list",
        ),
        (
            "models:\n- {id: a, provider: b, capabilities: [chat, 7]}",
            "headgate.yaml:2: capabilities: must be a list of texts",
        ),
        (
            "models:\n- {id: a, provider: b, price: {input_per_1m: 0.0000001}}",
            "headgate.yaml:2: input_per_1m: '0.0000001' is finer than a pico-USD per unit",
        ),
        (
            "models:\n- {id: a, provider: b, price: {input_per_1m: .nan}}",
            "headgate.yaml:2: input_per_1m: must be a number",
        ),
        (
            "models:\n- {id: a, provider: b, price: {cached_input_per_1m: 1}}",
            "headgate.yaml:2: price: needs input_per_1m, output_per_1m or per_request; write 0 for free",
        ),
        ("models:\n- {id: a, deployments: []}", "headgate.yaml:2: deployments: must not be empty"),
        (
            "models:\n- {id: a, provider: b, deployments: [{provider: b}]}",
            "headgate.yaml:2: provider: stands beside 'deployments'; name each provider there",
        ),
        (
            "models:\n- {id: a, deployments: [{provider: b, weight: 0}]}",
            "headgate.yaml:2: weight: 0 is not between 1 and 10000",
        ),
        (
            "providers:\n- {name: a, type: opnai}",
            "headgate.yaml:2: type: 'opnai' is not one of openai, mock, local; did you mean 'openai'?",
        ),
        ("providers:\n- {name: a, type: openai}", "headgate.yaml:2: 'base_url' is missing"),
        (
            "providers:\n- {name: a/b, type: mock}",
            "headgate.yaml:2: name: 'a/b' may hold letters, digits and ._- only, at most 64",
        ),
        (
            "providers:\n- {name: a, type: mock, base_url: 'http://h'}",
            "headgate.yaml:2: base_url: a provider of the type 'mock' has none",
        ),
        (
            "providers:\n- {name: a, type: openai, base_url: 'ftp://h'}",
            "headgate.yaml:2: base_url: must be like https://host/v1, without user name or query",
        ),
        (
            "providers:\n- {name: a, type: openai, base_url: 'http://u:p@h/'}",
            "headgate.yaml:2: base_url: must be like https://host/v1, without user name or query",
        ),
        (
            "providers:\n- {name: a, type: mock, timeout: {idle: 5}}",
            "headgate.yaml:2: idle: '5' is not a duration such as 250ms, 3s or 10m",
        ),
        (
            "providers:\n- {name: a, type: mock, timeout: {idle: 0s}}",
            "headgate.yaml:2: idle: must be longer than nothing",
        ),
        ("aliases: {a: []}", "headgate.yaml:1: a: must name at least one model"),
        ("aliases: {a: [{weight: 2}]}", "headgate.yaml:1: 'model' is missing"),
        (
            "routing: {default_objective: cheap}",
            "headgate.yaml:1: default_objective: 'cheap' is not one of balanced",
        ),
        ("routing: {fallbacks: {a: b}}", "headgate.yaml:1: 'a' must be a list"),
        (
            "plans:\n  free: {burst: 1}",
            "headgate.yaml:2: plans: 'free' cannot be set; a plan's limits are the policy of its name",
        ),
        (
            "policies: {p: {limits: {chats: {burst: 1}}}}",
            "headgate.yaml:1: unknown key 'chats'; did you mean 'chat'?",
        ),
        (
            "policies: {p: {limits: {chat: {burst: many}}}}",
            "headgate.yaml:1: burst: must be a whole number",
        ),
        (
            "network:\n  allowed: [10.0.0.1/8]",
            "headgate.yaml:2: allowed: '10.0.0.1/8' is not an address range such as 10.0.0.0/8",
        ),
        ("models: []\nmodels: []", "headgate.yaml:2: the key 'models' stands here twice"),
        (
            "providers:\n- {name: a, type: mock, api_key: '${NOPE}'}",
            "headgate.yaml:2: api_key: the variable 'NOPE' is not set",
        ),
        (
            "providers:\n- {name: a, type: mock, api_key: '${NO-PE}'}",
            "headgate.yaml:2: api_key: '${NO-PE}' is not a variable such as ${NAME}; write $$ for a dollar sign",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_line(text: str, problem: str) -> None:
    assert problems_of(text) == (problem,)


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"models: [", "headgate.yaml:2: is not YAML: "),
        (b"a: 1\n\tb: 2", "headgate.yaml:2: is not YAML: "),
        (b"models: []\n# \xff", "headgate.yaml:2: is not UTF-8"),
        (b"a: \x00", "headgate.yaml:1: is not YAML: "),
        (b"a: 1\n---\nb: 2", "headgate.yaml:2: is not YAML: "),
        (b"a: *b", "headgate.yaml:1: is not YAML: "),
        (b"models: &a [*a]", "headgate.yaml:1: each item of 'models'"),
        (b"providers: [{name: a, type: mock, options: &a {b: *a}}]", "headgate.yaml:1: options: is nested"),
        (b"models: !!python/object/apply:os.system ['true']", "headgate.yaml:1: each item of 'models'"),
    ],
)
def test_what_is_not_usable_yaml_is_said_with_its_line(content: bytes, start: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(content, "headgate.yaml", {})
    assert caught.value.problems[0].startswith(start)


def test_every_problem_of_the_file_is_reported_in_order() -> None:
    assert problems_of("aliases: {a: []}\nmodels:\n- {idd: a}\nnetwerk: {}") == (
        "headgate.yaml:1: a: must name at least one model",
        "headgate.yaml:3: 'id' is missing",
        "headgate.yaml:3: 'provider' is missing",
        "headgate.yaml:3: unknown key 'idd'; did you mean 'id'?",
        "headgate.yaml:4: unknown key 'netwerk'; did you mean 'network'?",
    )


def test_variables_are_filled_in_and_take_the_type_of_their_place() -> None:
    config = read(
        "providers: [{name: a, type: mock, api_key: '$${x}-${KEY}'}]\n"
        "models:\n- id: m\n  provider: a\n  max_output: '${MOST}'\n  drop_params: ${DROP}",
        KEY="123",
        MOST="77",
        DROP="true",
    )
    assert config.providers[0].api_key.reveal() == "${x}-123"
    assert config.models[0].max_output == 77
    assert config.models[0].drop_params


def test_variables_in_comments_are_none() -> None:
    assert read("# api_key: ${NOPE}\nmodels: []") == Config()


def test_an_absent_file_is_the_empty_config(tmp_path: Path) -> None:
    assert ConfigFile(tmp_path / "headgate.yaml", {}).read() == Config()


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        ConfigFile(tmp_path, {}).read()


def test_a_change_is_handed_over_once(tmp_path: Path) -> None:
    path = tmp_path / "headgate.yaml"
    path.write_text("models: []")
    file = ConfigFile(path, {})
    file.read()
    seen: list[Config] = []
    file.subscribe(seen.append)
    assert not file.check_once()
    path.write_text("aliases: {a: b}")
    assert file.check_once()
    assert not file.check_once()
    path.unlink()
    assert file.check_once()
    assert [len(config.aliases) for config in seen] == [1, 0]
    assert file.current is seen[-1]


def test_a_file_that_appears_is_a_change(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "headgate.yaml", {})
    file.read()
    file.path.write_text("aliases: {a: b}")
    assert file.check_once()


def test_a_bad_change_is_one_log_line_and_no_hand_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = ConfigFile(tmp_path / "headgate.yaml", {})
    file.read()
    seen: list[Config] = []
    file.subscribe(seen.append)
    file.path.write_text("modls: []\nfoo: 1")
    assert not file.check_once()
    assert not file.check_once()
    assert seen == []
    assert file.current == Config()
    assert len(caplog.records) == 1
    assert "unknown key 'modls'" in caplog.text
    file.path.write_text("models: []")
    assert file.check_once()


def test_what_one_subscriber_refuses_none_gets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = ConfigFile(tmp_path / "headgate.yaml", {})
    first: list[Config] = []
    second: list[Config] = []

    def refuse_aliases(config: Config) -> None:
        if config.aliases:
            raise ConfigError(["headgate.yaml:1: no"])

    file.subscribe(first.append)
    file.subscribe(second.append, check=refuse_aliases)
    file.path.write_text("aliases: {a: b}")
    assert not file.check_once()
    assert (first, second) == ([], [])
    file.path.write_text("models: []")
    assert file.check_once()
    assert (first, second) == ([file.current], [file.current])


async def test_watching_picks_up_a_change(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "headgate.yaml", {})
    changed = asyncio.Event()
    file.subscribe(lambda config: changed.set())
    task = asyncio.create_task(file.watch(interval=0.001))
    file.path.write_text("aliases: {a: b}")
    await asyncio.wait_for(changed.wait(), 10)
    task.cancel()

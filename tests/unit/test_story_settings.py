"""The settings of the story service: what is understood, and what is refused with its remedy."""

import os
from pathlib import Path

import pytest

from servicekit.settings import ConfigurationError, load, warnings_of
from story_service.assignment import Assignment, Listener
from story_service.bootstrap import _LOCAL_PACE, _breaker, _requests, _upstreams, _warnings, build
from story_service.prompting.builder import PromptBuilder
from story_service.safety.checked_writer import CheckedWriter
from story_service.safety.critic import CriticWriter
from story_service.settings import StorySettings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in tuple(os.environ):
        if variable.startswith(("STORY_", "OPENROUTER_", "CHAT_", "UPSTREAM_")):
            monkeypatch.delenv(variable)


def test_defaults_are_those_that_are_documented() -> None:
    """What nobody set."""
    settings = load(StorySettings)

    assert "openai/gpt-4o-mini" == settings.default_model
    assert () == settings.fallback_models
    assert () == settings.providers
    assert 0.7 == settings.temperature
    assert settings.max_tokens is None
    assert 3 == settings.max_retries
    assert settings.first_token_timeout_seconds is None
    assert settings.idle_timeout_seconds is None
    assert 64 == settings.concurrency
    assert settings.requests_per_minute is None
    assert "deny" == settings.openrouter_data_collection
    assert "https://openrouter.ai/api/v1" == settings.openrouter_base_url
    assert "" == settings.openrouter_key().get()


def test_what_is_set_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of models become ids, lists lists."""
    for variable, value in {
        "STORY_MODEL": "CLAUDE_3_5_SONNET",
        "STORY_FALLBACK_MODELS": "gpt_4o_mini, any/other:free, offline",
        "STORY_TEMPERATURE": "0",
        "STORY_MAX_TOKENS": "4000",
        "STORY_CONCURRENCY": "8",
        "STORY_REQUESTS_PER_MINUTE": "20",
        "OPENROUTER_PROVIDER_ORDER": "Anthropic, Azure",
        "OPENROUTER_PROVIDER_ONLY": "Anthropic",
        "OPENROUTER_ZDR": "1",
        "OPENROUTER_BASE_URL": "http://127.0.0.1:8080/api/v1/",
        "OPENROUTER_API_KEY": "anything",
    }.items():
        monkeypatch.setenv(variable, value)
    settings = load(StorySettings)

    assert "anthropic/claude-3.5-sonnet" == settings.model
    assert ("openai/gpt-4o-mini", "any/other:free", "offline") == settings.fallback_models
    assert 0 == settings.temperature
    assert 4000 == settings.max_tokens
    assert 8 == settings.concurrency
    assert 20 == settings.requests_per_minute
    assert ("Anthropic", "Azure") == settings.openrouter_provider_order
    assert ("Anthropic",) == settings.openrouter_provider_only
    assert settings.openrouter_zdr is True
    assert "http://127.0.0.1:8080/api/v1" == settings.openrouter_base_url
    assert "anything" == settings.openrouter_key().get()


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("OPENROUTER_API_KEY", "your-key-here", 'must begin with "sk-or-"'),
        ("OPENROUTER_API_KEY", "sk-or-v1 with blanks", "must be one word"),
        ("OPENROUTER_API_KEY", "sk-or-v1-ключ", "must be one word"),
        ("OPENROUTER_BASE_URL", "http://models.example.org/v1", "must be https"),
        ("OPENROUTER_BASE_URL", "models.example.org", "must be a URL"),
        ("OPENROUTER_BASE_URL", "https://user:secret@models.example.org", "must hold no user"),
        ("OPENROUTER_DATA_COLLECTION", "perhaps", "must be"),
        ("OPENROUTER_API_KEY_FILE", "/nonexistent/key", "must name a file"),
        ("STORY_MODEL", "gpt-9", "must be"),
        ("STORY_MODEL", "chat:llama3.2:3b", "while CHAT_BASE_URL is not set"),
        ("STORY_FALLBACK_MODELS", "chat:llama3.2:3b", "while CHAT_BASE_URL is not set"),
        ("CHAT_BASE_URL", "http://models.example.org/v1", "must be https, or set UPSTREAM_ALLOW_PLAIN_HTTP=1"),
        ("CHAT_BASE_URL", "llm.example:11434", "must be a URL such as https://host/v1"),
        ("CHAT_API_KEY", "two words", "must be one word"),
        ("CHAT_API_KEY_FILE", "/nonexistent/key", "must name a file"),
        ("STORY_FIRST_TOKEN_TIMEOUT_SECONDS", "-5", "must be greater than 0"),
        ("STORY_FALLBACK_MODELS", "GPT_4O,gpt-9", "must be"),
        ("STORY_TEMPERATURE", "2.1", "must be less than or equal to 2"),
        ("STORY_MAX_RETRIES", "-1", "must be greater than or equal to 0"),
    ],
)
def test_what_can_not_be_used_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, remedy: str
) -> None:
    """One line that names the variable and the remedy, and never the value."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load(StorySettings)

    assert str(caught.value).startswith(variable)
    assert remedy in str(caught.value)
    assert value not in str(caught.value)


def test_plain_http_is_for_those_who_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """UPSTREAM_ALLOW_PLAIN_HTTP lets keys travel on a trusted network."""
    monkeypatch.setenv("UPSTREAM_ALLOW_PLAIN_HTTP", "1")
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://models.example.org/v1")

    assert "http://models.example.org/v1" == load(StorySettings).openrouter_base_url


def test_key_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It wins over the variable; what is no key in it is refused without being shown."""
    file = tmp_path / "key"
    file.write_text("sk-or-v1-file\n")
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-variable")
    monkeypatch.setenv("OPENROUTER_API_KEY_FILE", str(file))
    assert "sk-or-v1-file" == load(StorySettings).openrouter_key().get()

    file.write_text("no key of theirs")
    with pytest.raises(
        ConfigurationError, match=r"^OPENROUTER_API_KEY_FILE holds no key: it must be one word"
    ) as caught:
        load(StorySettings)
    assert "theirs" not in str(caught.value)


def test_templates_that_can_not_be_used_stop_the_start(tmp_path: Path) -> None:
    """The line names the variable; with or without a key."""
    with pytest.raises(ConfigurationError, match=r"^STORY_PROMPTS_DIR: "):
        build(StorySettings(prompts_dir=tmp_path / "nothing"))


def test_last_good_answer_outlives_the_next_refresh() -> None:
    """Else it would be too old whenever it is needed; models themselves are never answered from a cache."""
    settings = StorySettings()
    configs = [_breaker(f"openrouter:{name}", settings) for name in ("key", "models", "generation")]

    assert all(config.cache_on_failure and config.cache_ttl >= 600 for config in configs)
    assert not _breaker("openrouter:a/b", settings).cache_on_failure


@pytest.mark.parametrize(
    "model", ["llama3.2:3b", "qwen2.5-7b-instruct", "hf.co/a/b-GGUF:Q4_K_M", "gpt-4o", "openai/gpt-4o", "chat:gpt-4o"]
)
def test_chat_server_takes_any_model(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """It needs no key, and no model either."""
    monkeypatch.setenv("CHAT_BASE_URL", "http://host.docker.internal:11434")
    bare = load(StorySettings)
    monkeypatch.setenv("STORY_MODEL", model)
    settings = load(StorySettings)

    assert (("chat",), "") == (bare.providers, bare.default_model)
    assert "http://host.docker.internal:11434/v1" == bare.chat_base_url
    assert f"chat:{model.removeprefix('chat:')}" == settings.default_model


def test_prefix_chooses_where_both_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the form of the id does; the default without STORY_MODEL is OpenRouter's."""
    monkeypatch.setenv("CHAT_BASE_URL", "http://127.0.0.1:11434/v1")
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-0")
    monkeypatch.setenv("STORY_FALLBACK_MODELS", "llama3.2:3b,a/b,chat:a/b,openrouter:GPT_4O,offline")
    settings = load(StorySettings)

    assert ("openrouter", "chat") == settings.providers
    assert "openai/gpt-4o-mini" == settings.default_model
    assert ("chat:llama3.2:3b", "a/b", "chat:a/b", "openai/gpt-4o", "offline") == settings.fallback_models


def test_model_of_openrouter_needs_its_key_beside_a_chat_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says so."""
    monkeypatch.setenv("CHAT_BASE_URL", "http://127.0.0.1:11434/v1")
    monkeypatch.setenv("STORY_MODEL", "openrouter:a/b")
    with pytest.raises(ConfigurationError, match=r"^STORY_MODEL must not name .* while OPENROUTER_API_KEY is not set"):
        load(StorySettings)


def test_corrected_address_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given and what is used, in the status and in the log."""
    monkeypatch.setenv("CHAT_BASE_URL", "http://127.0.0.1:11434/v1/chat/completions")

    assert ["CHAT_BASE_URL is http://127.0.0.1:11434/v1/chat/completions; http://127.0.0.1:11434/v1 is used."] == (
        warnings_of(load(StorySettings))
    )


def test_local_server_is_given_time() -> None:
    """Its timers are long and its slowness opens no circuit breaker; what is set counts for both."""
    settings = StorySettings(chat_base_url="http://ollama:11434")
    slow = _breaker("chat:m", settings, _LOCAL_PACE)
    usual = _breaker("openrouter:a/b", settings)
    (local,), (remote,) = _upstreams(settings), _upstreams(StorySettings(chat_base_url="https://api.openai.com"))
    timers = [_requests(settings, each, PromptBuilder()).timers(_STORY) for each in (local, remote)]
    asked = StorySettings(chat_base_url="http://ollama:11434", first_token_timeout_seconds=7, idle_timeout_seconds=8)
    own = _requests(asked, local, PromptBuilder()).timers(_STORY)

    assert (None, 15) == (slow.slow_call_seconds, usual.slow_call_seconds)
    assert [(600, 300), (30, 30)] == [(each.first_token, each.idle) for each in timers]
    assert 1800 + 5 * 120 == timers[0].total
    assert (7, 8) == (own.first_token, own.idle)
    assert (2, 64) == (local.concurrency, remote.concurrency)
    assert [True, False] == [each.server.is_free for each in (local, remote)]


_STORY = Assignment(story_id="id", child=Listener(name="Mia"), length_minutes=5)


_OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        ({"STORY_SAFETY": "on"}, "STORY_SAFETY must be 'off', 'moderation' or 'model'"),
        ({"STORY_SAFETY": "moderation"}, "STORY_SAFETY needs a server with /moderations: set STORY_SAFETY_BASE_URL"),
        ({"STORY_SAFETY": "moderation", "OPENROUTER_API_KEY": "sk-or-v1-a"}, "set STORY_SAFETY_BASE_URL"),
        ({"STORY_SAFETY": "model"}, "STORY_SAFETY needs a model: set OPENROUTER_API_KEY or CHAT_BASE_URL"),
        ({"STORY_SAFETY": "model", "STORY_SAFETY_MODEL": "a/b"}, "STORY_SAFETY needs a model: set OPENROUTER_API_KEY"),
        ({"STORY_SAFETY": "model", "CHAT_BASE_URL": _OPENAI}, "STORY_SAFETY needs STORY_SAFETY_MODEL"),
        (
            {"STORY_SAFETY": "model", "OPENROUTER_API_KEY": "sk-or-v1-a", "STORY_MODEL": "offline"},
            "STORY_SAFETY needs STORY_SAFETY_MODEL",
        ),
        (
            {"STORY_SAFETY": "model", "OPENROUTER_API_KEY": "sk-or-v1-a", "STORY_SAFETY_MODEL": "offline"},
            "STORY_SAFETY needs STORY_SAFETY_MODEL to be a language model",
        ),
        (
            {"STORY_SAFETY": "model", "OPENROUTER_API_KEY": "sk-or-v1-a", "STORY_SAFETY_MODEL": "chat:guard"},
            "while CHAT_BASE_URL is not set",
        ),
        ({"STORY_SAFETY": "model", "STORY_SAFETY_BASE_URL": _OPENAI}, "STORY_SAFETY needs STORY_SAFETY_MODEL"),
        ({"STORY_SAFETY_API_KEY": "sk-a"}, "STORY_SAFETY_API_KEY needs STORY_SAFETY_BASE_URL"),
        ({"STORY_SAFETY_BASE_URL": "http://models.example.org/v1"}, "STORY_SAFETY_BASE_URL must be https"),
        ({"STORY_SAFETY_BASE_URL": _OPENAI, "STORY_SAFETY_API_KEY": "two words"}, "must be one word"),
        ({"STORY_SAFETY_TIMEOUT_SECONDS": "0"}, "must be greater than 0"),
        ({"STORY_CRITIC": "yes"}, "STORY_CRITIC must be 'off' or 'model'"),
        ({"STORY_CRITIC": "model"}, "STORY_CRITIC needs a model: set OPENROUTER_API_KEY or CHAT_BASE_URL"),
        ({"STORY_CRITIC": "model", "CHAT_BASE_URL": _OPENAI}, "STORY_CRITIC needs STORY_CRITIC_MODEL"),
        ({"STORY_CRITIC_THRESHOLD": "6"}, "must be less than or equal to 5"),
    ],
)
def test_safety_that_is_on_and_not_configured_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], remedy: str
) -> None:
    """One line with the remedy."""
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load(StorySettings)

    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "provider", "judge"),
    [
        ({"STORY_SAFETY": "moderation", "CHAT_BASE_URL": _OPENAI, "CHAT_API_KEY": "sk-a"}, "chat", ""),
        ({"STORY_SAFETY": "moderation", "STORY_SAFETY_BASE_URL": _OPENAI, "STORY_SAFETY_API_KEY": "a"}, "safety", ""),
        ({"STORY_SAFETY": "model", "OPENROUTER_API_KEY": "sk-or-v1-a"}, "openrouter", "openai/gpt-4o-mini"),
        (
            {"STORY_SAFETY": "model", "OPENROUTER_API_KEY": "sk-or-v1-a", "STORY_SAFETY_MODEL": "GPT_4O"},
            "openrouter",
            "openai/gpt-4o",
        ),
        (
            {
                "STORY_SAFETY": "model",
                "OPENROUTER_API_KEY": "sk-or-v1-a",
                "CHAT_BASE_URL": "http://127.0.0.1:11434/v1",
                "STORY_SAFETY_MODEL": "chat:llama-guard3",
            },
            "chat",
            "llama-guard3",
        ),
        (
            {"STORY_SAFETY": "model", "STORY_SAFETY_BASE_URL": _OPENAI, "STORY_SAFETY_MODEL": "guard"},
            "safety",
            "guard",
        ),
    ],
)
def test_safety_is_asked_of_the_server_that_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], provider: str, judge: str
) -> None:
    """Its own address first, else the providers of the stories; no key goes anywhere else."""
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    settings = load(StorySettings)
    app = build(settings)
    writer = app.servicer._generator.writers["offline"]
    assert isinstance(writer, CheckedWriter)

    circuit = writer._checks._check.circuit
    assert (provider, f"{provider}:{judge or 'moderations'}") == (circuit.provider, circuit.name)


def test_without_safety_no_writer_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default costs nothing."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-a")
    generator = build(load(StorySettings)).servicer._generator

    assert generator.safety is None
    assert not any(isinstance(writer, CheckedWriter | CriticWriter) for writer in generator.writers.values())


def test_critic_judges_what_models_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the safety check, and never the embedded writer."""
    for variable, value in {
        "OPENROUTER_API_KEY": "sk-or-v1-a",
        "STORY_SAFETY": "model",
        "STORY_CRITIC": "model",
        "STORY_CRITIC_MODEL": "GPT_4O",
    }.items():
        monkeypatch.setenv(variable, value)
    writers = build(load(StorySettings)).servicer._generator.writers
    checked = {provider: writer._writer for provider, writer in writers.items() if isinstance(writer, CheckedWriter)}

    assert {"openrouter", "offline"} == set(checked)
    assert isinstance(checked["openrouter"], CriticWriter)
    assert "openrouter:openai/gpt-4o" == checked["openrouter"]._judge.circuit.name
    assert not isinstance(checked["offline"], CriticWriter)


def test_settings_of_a_check_that_is_off_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who names a model expects checks."""
    monkeypatch.setenv("STORY_SAFETY_MODEL", "a/b")

    assert any("STORY_SAFETY is off" in warning for warning in _warnings(load(StorySettings)))

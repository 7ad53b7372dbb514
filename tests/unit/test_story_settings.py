"""The settings of the story service: what is understood, and what is refused with its remedy."""

import os
from pathlib import Path

import pytest

from servicekit.settings import ConfigurationError, load
from story_service.bootstrap import _breaker, build
from story_service.settings import StorySettings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in tuple(os.environ):
        if variable.startswith(("STORY_", "OPENROUTER_", "UPSTREAM_")):
            monkeypatch.delenv(variable)


def test_defaults_are_those_that_are_documented() -> None:
    """What nobody set."""
    settings = load(StorySettings)

    assert "openai/gpt-4o-mini" == settings.model
    assert () == settings.fallback_models
    assert 0.7 == settings.temperature
    assert settings.max_tokens is None
    assert 3 == settings.max_retries
    assert 30 == settings.first_token_timeout_seconds
    assert 30 == settings.idle_timeout_seconds
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

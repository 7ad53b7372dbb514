"""SPEECH_PROVIDERS: servers of speech declared as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from servicekit.settings import ConfigurationError
from voice_service.providers.speech.config import read_speech_providers
from voice_service.settings import VoiceServiceSettings
from voice_service.transcription.openai_transcriber import OPENAI_URL, TranscriptionConfig, transcription_config

SERVER = {"name": "kokoro", "base_url": "http://127.0.0.1:8880/v1/", "model": "kokoro", "voice": "af_heart"}
KEY = "sk-very-secret"


def declared(*servers: dict[str, Any]) -> str:
    return json.dumps(servers)


@pytest.mark.parametrize("text", ["", "  \n", "[]"])
def test_nothing_declares_nothing(text: str) -> None:
    """Unset, blank or an empty list."""
    assert () == read_speech_providers(text, {})


def test_a_server_needs_only_what_has_no_default() -> None:
    """Everything else is as OpenAI's API has it; without a key it bills nothing."""
    (config,) = read_speech_providers(declared(SERVER), {})

    assert ("kokoro", "kokoro", "http://127.0.0.1:8880/v1") == (config.name, config.display_name, config.base_url)
    assert ("pcm", 24_000, 4_096, False) == (
        config.response_format,
        config.sample_rate,
        config.max_text_length,
        config.paid,
    )
    assert ("af_heart", ("en",), "") == (config.default_voice, config.spoken_languages, config.missing())


def test_a_server_can_say_everything() -> None:
    """Every field reaches the configuration."""
    whole = {
        **SERVER,
        "display_name": "OpenRouter",
        "base_url": "https://openrouter.ai/api/v1",
        "key_variable": "OPENROUTER_API_KEY",
        "voice": "",
        "voices": {"en": "nova", "pt-BR": ["a", "b"]},
        "format": "mp3",
        "sample_rate": 44_100,
        "languages": ["en", "pt"],
        "max_text_length": 2_000,
        "paid": False,
        "extra": {"provider": {"data_collection": "deny"}},
    }
    (config,) = read_speech_providers(declared(whole), {"OPENROUTER_API_KEY": KEY})

    assert KEY == config.key.get()
    assert {"en": ("nova",), "pt-BR": ("a", "b")} == config.voices
    assert ("nova", ("en", "pt")) == (config.default_voice, config.spoken_languages)
    assert ("mp3", 44_100, 2_000, False) == (
        config.response_format,
        config.sample_rate,
        config.max_text_length,
        config.paid,
    )
    assert {"provider": {"data_collection": "deny"}} == config.extra


def test_a_key_may_be_in_a_file(tmp_path: Path) -> None:
    """The variable with _FILE behind it."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    text = declared({**SERVER, "key_variable": "KOKORO_KEY"})
    (config,) = read_speech_providers(text, {"KOKORO_KEY_FILE": str(tmp_path / "key")})

    assert (KEY, True, "") == (config.key.get(), config.paid, config.missing())


def test_a_key_that_is_missing_is_named() -> None:
    """The service starts all the same; the provider says why it cannot be called."""
    (config,) = read_speech_providers(declared({**SERVER, "key_variable": "KOKORO_KEY"}), {})

    assert "set KOKORO_KEY to the API key of http://127.0.0.1:8880/v1" == config.missing()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "SPEECH_PROVIDERS must be a JSON list, such as [{"),
        ("{}", "SPEECH_PROVIDERS must be a JSON list, such as [{"),
        ("[1]", "SPEECH_PROVIDERS[0] must be an object"),
        (declared({**SERVER, "name": "A b"}), "SPEECH_PROVIDERS[0].name must be lower-case letters"),
        (declared({**SERVER, "name": "taken"}), "SPEECH_PROVIDERS[0].name must be none of other, taken"),
        (declared(SERVER, SERVER), "SPEECH_PROVIDERS[1].name must be another one"),
        (declared({"name": "a", "base_url": "https://a/v1"}), "SPEECH_PROVIDERS[0].model must be given"),
        (declared({**SERVER, "voice": ""}), "SPEECH_PROVIDERS[0].voice must be given, or voices by language"),
        (declared({**SERVER, "base_url": "ftp://x"}), "SPEECH_PROVIDERS[0].base_url must be a URL"),
        (declared({**SERVER, "base_url": "http://tts.example/v1"}), "SPEECH_PROVIDERS[0].base_url must be https"),
        (declared({**SERVER, "format": "aac"}), "SPEECH_PROVIDERS[0].format must be 'pcm', 'wav', 'mp3'"),
        (declared({**SERVER, "sample_rate": 1}), "SPEECH_PROVIDERS[0].sample_rate must be greater than"),
        (declared({**SERVER, "voices": {"english voices": "a"}}), "SPEECH_PROVIDERS[0].voices must be by language"),
        (declared({**SERVER, "voices": {"en": []}}), "SPEECH_PROVIDERS[0].voices.en "),
        (declared({**SERVER, "languages": ["en", "?"]}), "SPEECH_PROVIDERS[0].languages must be language codes"),
        (declared({**SERVER, "key_variable": KEY}), "SPEECH_PROVIDERS[0].key_variable must be the name of an"),
        (declared({**SERVER, "key": KEY}), "SPEECH_PROVIDERS[0].key is not known"),
        (declared({**SERVER, "extra": {"input": "x"}}), "SPEECH_PROVIDERS[0].extra must not set input"),
        (declared(*({**SERVER, "name": f"a{n}"} for n in range(33))), "SPEECH_PROVIDERS must have at most 32"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, said: str) -> None:
    """The place and the remedy first, and no value that may be a key."""
    with pytest.raises(ConfigurationError) as caught:
        read_speech_providers(text, {}, reserved={"taken", "other"})

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_plain_http_can_be_allowed() -> None:
    """Where the network is trusted."""
    (config,) = read_speech_providers(
        declared({**SERVER, "base_url": "http://tts.example/v1"}), {}, allow_plain_http=True
    )

    assert "http://tts.example/v1" == config.base_url


def test_address_of_a_declared_server_is_corrected() -> None:
    """As those of single variables; a container's name needs no certificate."""
    (config,) = read_speech_providers(declared({**SERVER, "base_url": "http://kokoro:8880/v1/audio/speech"}), {})

    assert "http://kokoro:8880/v1" == config.base_url


def test_extra_fields_can_not_replace_the_text() -> None:
    """What the adapter sends itself is its own; anything else is fine."""
    read_speech_providers(declared({**SERVER, "extra": {"lang_code": "a"}}), {})
    with pytest.raises(ConfigurationError, match="extra must not set model, voice"):
        read_speech_providers(declared({**SERVER, "extra": {"voice": "x", "model": "y"}}), {})


def transcription(**given: Any) -> TranscriptionConfig:
    nothing = {"transcribe_base_url": "", "transcribe_api_key": None, "openai_api_key": None}
    return transcription_config(VoiceServiceSettings(**{**nothing, **given}))


def test_recordings_go_to_openai_unless_told_otherwise() -> None:
    """Another server needs no key; OpenAI's own is missing what is not set."""
    assert OPENAI_URL == transcription().base_url
    assert "OPENAI_API_KEY" in transcription().missing()
    assert "TRANSCRIBE_BASE_URL" in transcription().missing()
    assert "" == transcription(transcribe_base_url="http://127.0.0.1:8000/v1").missing()
    with pytest.raises(ValueError, match="must be https"):
        transcription(transcribe_base_url="http://speaches.example:8000/v1")
    assert "http://speaches:8000/v1" == transcription(transcribe_base_url="http://speaches:8000").base_url


def test_the_key_of_recordings_goes_before_openais(tmp_path: Path) -> None:
    """TRANSCRIBE_API_KEY or its file, else OPENAI_API_KEY."""
    file = tmp_path / "key"
    file.write_text("of-a-file")

    assert "own" == transcription(transcribe_api_key=SecretStr("own"), openai_api_key=SecretStr("shared")).key.get()
    assert "of-a-file" == transcription(transcribe_api_key_file=file, openai_api_key=SecretStr("shared")).key.get()
    assert "shared" == transcription(openai_api_key=SecretStr("shared")).key.get()

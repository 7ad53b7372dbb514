"""The environment of the voice service, and the providers that come of it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from servicekit.metrics import Metrics
from servicekit.settings import ConfigurationError, load
from voice_service.bootstrap import build
from voice_service.metrics import VoiceMetrics
from voice_service.providers.factory import BUILT_IN, make_providers
from voice_service.providers.registry import Announced
from voice_service.settings import Tuning, VoiceServiceSettings

SPEECH = {"SPEECH_BASE_URL": "http://127.0.0.1:8880/v1", "SPEECH_MODEL": "kokoro", "SPEECH_VOICE": "af_heart"}
MORE = (
    '[{"name": "router", "base_url": "https://openrouter.ai/api/v1", "key_variable": "K", "model": "m", "voice": "v"}]'
)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ELEVENLABS_API_KEY", "SPEECH_BASE_URL", "SPEECH_PROVIDERS", "DEFAULT_VOICE_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TALE_DATA_DIR", str(tmp_path))


def _load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> VoiceServiceSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load(VoiceServiceSettings)


def _made(settings: VoiceServiceSettings, **environment: str) -> dict[str, Any]:
    made = make_providers(settings, Tuning(), VoiceMetrics(Metrics()), environment)
    return {each.name if isinstance(each, Announced) else each.metadata.name: each for each in made}


def test_without_any_key_there_are_the_embedded_voice_and_the_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order."""
    assert [each.name for each in BUILT_IN if not each.variable] == list(_made(_load(monkeypatch)))


def test_every_built_in_provider_is_brought_by_a_setting() -> None:
    """Under the variable that its remedy names: a field whose prefix `variables` does not know has another one."""
    fields = VoiceServiceSettings.model_fields.values()
    assert {each.variable for each in BUILT_IN if each.variable} <= {str(field.validation_alias) for field in fields}


@pytest.mark.parametrize("name", [each.name for each in BUILT_IN])
def test_declared_server_cannot_have_the_name_of_a_built_in_provider(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One line that says which names are taken."""
    settings = _load(monkeypatch, SPEECH_PROVIDERS=MORE.replace('"router"', f'"{name}"'), **SPEECH)
    with pytest.raises(ConfigurationError, match=r"^SPEECH_PROVIDERS\[0\]\.name must be none of .*$"):
        _made(settings)


def test_keys_and_addresses_bring_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as it is set up, billed where it has a key, and the key in nothing that is printed."""
    settings = _load(monkeypatch, ELEVENLABS_API_KEY="secret-key", SPEECH_PROVIDERS=MORE, **SPEECH)
    made = _made(settings, K="other-key")

    assert [*(each.name for each in BUILT_IN), "router"] == list(made)
    assert [True, False, True] == [made[name].metadata.paid for name in ("elevenlabs", "speech", "router")]
    assert ("eleven_multilingual_v2", "21m00Tcm4TlvDq8ikWAM") == (
        made["elevenlabs"].metadata.default_model,
        made["elevenlabs"].metadata.default_voice,
    )
    assert SecretStr("secret-key") == settings.elevenlabs_api_key
    assert "secret-key" not in repr(settings)


def test_speech_may_be_declared_with_its_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEECH_PROVIDERS may name a provider `speech` where SPEECH_BASE_URL does not."""
    made = _made(_load(monkeypatch, SPEECH_PROVIDERS=MORE.replace('"router"', '"speech"')), K="secret-key")

    assert made["speech"].metadata.paid


def test_a_key_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ELEVENLABS_API_KEY_FILE alone is enough."""
    file = tmp_path / "key"
    file.write_text("secret-key\n")

    assert "elevenlabs" in _made(_load(monkeypatch, ELEVENLABS_API_KEY_FILE=str(file)))


@pytest.mark.parametrize(
    ("variable", "value", "more"),
    [
        ("ELEVENLABS_BASE_URL", "http://elevenlabs.example", {"ELEVENLABS_API_KEY": "secret-key"}),
        ("SPEECH_BASE_URL", "http://name:secret-key@speech/v1", {}),
        ("SPEECH_BASE_URL", "ftp://speech", {}),
        ("SPEECH_PROVIDERS", "{secret-key", {}),
        ("SPEECH_PROVIDERS", MORE.replace("router", "speech"), SPEECH),
        ("VOICE_SLOW_SECONDS", "0", {}),
        ("DEFAULT_VOICE_PROVIDER", "nobody", {}),
        ("VOICE_PROVIDER_FALLBACK", "offline,nobody", {}),
        ("TRANSCRIBE_BASE_URL", "http://name:secret-key@ears", {}),
        ("VOICE_BREAKER_FAILURES", "0", {}),
        *(("SPEECH_PRICES", each, {}) for each in ("speech", "=0.1", "speech=-1", "speech=nan", "speech=1,a=b", "a=")),
    ],
)
async def test_a_wrong_value_stops_the_service_with_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, more: dict[str, str]
) -> None:
    """And shows nothing of it."""
    with pytest.raises(ConfigurationError) as caught:
        build(_load(monkeypatch, **{**more, variable: value}))

    assert variable in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_http_beyond_this_machine_has_to_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """UPSTREAM_ALLOW_PLAIN_HTTP, for a network that is trusted."""
    settings = _load(
        monkeypatch, UPSTREAM_ALLOW_PLAIN_HTTP="1", **{**SPEECH, "SPEECH_BASE_URL": "http://kokoro.example:8880/v1"}
    )

    assert "speech" in _made(settings)


def test_prices_are_by_provider_or_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """In US dollars per thousand characters."""
    settings = _load(monkeypatch, SPEECH_PRICES=" elevenlabs/eleven_v3=0.18, speech=0.015,speech/tts-1=0 ")
    assert {"elevenlabs/eleven_v3": 0.18, "speech": 0.015, "speech/tts-1": 0.0} == settings.prices

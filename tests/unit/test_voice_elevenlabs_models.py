"""What the models of ElevenLabs take."""

from typing import Any

import pytest
from pydantic import SecretStr

from servicekit.secrets import SecretSource
from voice_service.ports import SegmentRequest, VoiceSettings
from voice_service.providers.elevenlabs.api import ElevenLabsConfig
from voice_service.providers.elevenlabs.models import (
    BUILT_IN,
    facts_of,
    is_voice_id,
    speech_call,
    stability_of,
    takes_language_code,
    takes_previous_text,
)


def _config(**more: Any) -> ElevenLabsConfig:
    return ElevenLabsConfig(key=SecretSource(SecretStr("sk"), name="ELEVENLABS_API_KEY"), **more)


@pytest.mark.parametrize(
    ("model_id", "previous_text", "language_code"),
    [
        ("eleven_multilingual_v2", True, False),
        ("eleven_multilingual_v1", True, False),
        ("eleven_flash_v2", True, False),
        ("eleven_flash_v2_5", True, True),
        ("eleven_turbo_v2_5", True, True),
        ("eleven_v3", False, True),
        ("eleven_v3_conversational", False, True),
        ("eleven_v4", False, True),
    ],
)
def test_what_a_model_may_be_given(model_id: str, previous_text: bool, language_code: bool) -> None:
    """A model that is not known yet is taken for one like v3: what it refuses would cost a call."""
    assert (previous_text, language_code) == (takes_previous_text(model_id), takes_language_code(model_id))


def test_limits_are_built_in() -> None:
    """Flash v2.5 takes 40,000 characters, multilingual v2 10,000, v3 5,000; an unknown model the least of all."""
    assert [40_000, 10_000, 5_000, 5_000] == [
        facts_of(model_id, None).max_characters
        for model_id in ("eleven_flash_v2_5", "eleven_multilingual_v2", "eleven_v3", "eleven_v9")
    ]
    assert 29 == len(BUILT_IN["eleven_multilingual_v2"].languages)
    assert 32 == len(BUILT_IN["eleven_flash_v2_5"].languages)


@pytest.mark.parametrize(("asked", "sent"), [(0.2, 0.0), (0.4, 0.5), (0.5, 0.5), (0.8, 1.0), (None, None)])
def test_v3_knows_three_stabilities(asked: float | None, sent: float | None) -> None:
    """The nearest is taken; other models take any."""
    assert sent == stability_of("eleven_v3", asked)
    assert asked == stability_of("eleven_multilingual_v2", asked)


@pytest.mark.parametrize(("asked", "sent"), [(None, None), (0.25, 0.7), (1.0, 1.0), (4.0, 1.2)])
def test_a_speed_beyond_what_is_taken_is_the_nearest(asked: float | None, sent: float | None) -> None:
    """0.7 to 1.2; others are answered with 400."""
    request = SegmentRequest(text="Oh.", language_code="en", settings=VoiceSettings(speed=asked))

    assert sent == speech_call(request, _config(), voice_id="v", languages=()).settings.speed


def test_zero_retention_is_asked_for_only_where_it_is_set() -> None:
    """Other plans refuse it."""
    request = SegmentRequest(text="Oh.", language_code="en")

    assert [None, False] == [
        speech_call(request, _config(zero_retention=zero), voice_id="v", languages=()).enable_logging
        for zero in (False, True)
    ]


def test_a_format_that_can_not_be_handed_on_is_refused() -> None:
    """With the ones that can."""
    with pytest.raises(ValueError, match="mp3_44100_128, pcm_16000"):
        _config(output_format="ulaw_8000")


def test_an_id_is_letters_and_digits() -> None:
    """As many as ids have."""
    assert is_voice_id("21m00Tcm4TlvDq8ikWAM")
    assert not any(map(is_voice_id, ("", "short", "../../v1/user/aaaaaaa", "a" * 41, "21m00Tcm4TlvDq8ikWA\n")))

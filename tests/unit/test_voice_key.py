"""What makes two segments of audio the same."""

from dataclasses import replace
from typing import Any

import pytest
from support.voice_kit import NamedVoice

from voice_service.ports import MP3_44100_128, SegmentRequest, VoiceSettings
from voice_service.synthesis.store import segment_key

METADATA = NamedVoice("one").metadata
REQUEST = SegmentRequest(text="Good night.", language_code="en", voice_id="v", model_id="m", previous_text="Before.")


def _key(**changed: Any) -> str:
    return segment_key(replace(REQUEST, **changed), METADATA, MP3_44100_128)


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "Good night!"},
        {"language_code": "de"},
        {"voice_id": "w"},
        {"model_id": "n"},
        {"settings": VoiceSettings(speed=0.9)},
        {"settings": VoiceSettings(use_speaker_boost=False)},
        {"pause": 0.4},
    ],
)
def test_what_sounds_different_has_another_key(changed: dict[str, object]) -> None:
    """Text, language, voice, model, settings and the silence after it count."""
    assert _key() != _key(**changed)


def test_provider_and_format_count() -> None:
    """The same words of another provider, or in another format, are other audio."""
    keys = {
        _key(),
        segment_key(REQUEST, NamedVoice("two").metadata, MP3_44100_128),
        segment_key(REQUEST, METADATA, replace(MP3_44100_128, name="wav")),
    }

    assert 3 == len(keys)


def test_the_text_before_counts_only_where_the_provider_takes_it() -> None:
    """Else stored segments would be missed for nothing."""
    taking = replace(METADATA, takes_previous_text=True)

    assert _key() == _key(previous_text="Other.")
    assert segment_key(REQUEST, taking, MP3_44100_128) != segment_key(
        replace(REQUEST, previous_text="Other."), taking, MP3_44100_128
    )


def test_a_key_can_be_the_name_of_a_file_and_stays_the_same() -> None:
    """A key that changed unnoticed would lose every segment that is stored."""
    assert "9b8b103e3fd9eedf51e30a2737ec88703f5b31314d5c7bd5c08a6d33e4fae7a3" == _key()

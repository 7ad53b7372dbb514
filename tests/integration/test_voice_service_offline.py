"""The voice service on the real embedded voice."""

from collections.abc import AsyncIterator

import grpc
import pytest
from support.servers import running
from support.voice_kit import Voice, reason_of, settings

from tale.common.v1 import common_pb2
from voice_service.bootstrap import build


@pytest.fixture(scope="module")
async def voice() -> AsyncIterator[Voice]:
    """The service as it is built, with nothing but the embedded voice."""
    chosen = settings(default_provider="offline")
    async with running(build(chosen), settings=chosen, service="voice") as service:
        yield Voice(service)


@pytest.mark.parametrize("voice_id", ["en+zzz", "en-gb+zzz", "xx", "+zzz", "../../etc"])
async def test_a_voice_that_does_not_exist_is_not_found_at_once(voice: Voice, voice_id: str) -> None:
    """NOT_FOUND / VOICE_NOT_FOUND before anything is said."""
    told = await voice.tell(voice=common_pb2.VoiceSelection(provider="offline", voice_id=voice_id))

    assert (grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND") == reason_of(told.error)[:2]
    assert ([], []) == (told.kinds, told.attempts)


@pytest.mark.parametrize("voice_id", ["en-gb+whisper", "en-us", "+m3"])
async def test_a_voice_that_is_not_listed_may_be_asked_for(voice: Voice, voice_id: str) -> None:
    """Any variant, and a variant alone."""
    told = await voice.tell("Good night.", voice=common_pb2.VoiceSelection(provider="offline", voice_id=voice_id))

    assert (None, voice_id) == (told.error, told.segments[0].voice_id)


@pytest.mark.parametrize(
    ("language", "text", "voice_id", "warnings"),
    [
        ("tlh", "Qapla! Heghlumeh QaQ jajvam.", "heart", ["LANGUAGE_UNSUPPORTED"]),
        ("de", "Es war einmal ein Fuchs. Er schlief.", "de+f2", []),
        ("de-AT", "Es war einmal ein Fuchs. Er schlief.", "de+f2", []),
        ("ru", "Жила-была лиса. Она спала.", "ru+f2", []),
        ("zh", "从前有一个小女孩。她睡着了。", "cmn+f2", []),
    ],
)
async def test_every_language_is_read(
    voice: Voice, language: str, text: str, voice_id: str, warnings: list[str]
) -> None:
    """By a voice of its own, or by the default voice with a warning; and it is resumed alike."""
    told = await voice.tell(text, language_code=language)
    again = await voice.tell(text, language_code=language, pinned=told.header, spoken_so_far=told.segments[:1])

    assert (None, None) == (told.error, again.error)
    assert (warnings, {voice_id}) == (
        [each.reason for each in told.warnings],
        {each.voice_id for each in told.segments},
    )
    assert told.audio[told.segments[0].audio.end :] == again.audio
    assert len(told.audio) > 16_000

"""What everything that writes down recordings holds to, against our own server and against aimock."""

from collections.abc import AsyncIterator

import pytest
from support.aimock import aimock
from support.speech_fake import speech_fake, transcriber_of

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.transcription.transcriber import Recording, Transcriber

TEXT = "Tell me of a dragon who cannot sleep."
SOUND = b"RIFF" + bytes(range(256)) * 40


@pytest.fixture(scope="module", params=["fake", "aimock"])
async def transcriber(request: pytest.FixtureRequest) -> AsyncIterator[Transcriber]:
    """Each, on a server that hears TEXT in everything."""
    made: Transcriber
    if request.param == "aimock":
        async with aimock() as upstream:
            heard = {"text": TEXT, "language": "english", "duration": 2.5}
            await upstream.add({"match": {"endpoint": "transcription"}, "response": {"transcription": heard}})
            made = transcriber_of(upstream.openai_url)
            yield made
            await made.aclose()
        return
    async with speech_fake() as server:
        server.transcript = {"text": f" {TEXT}\n", "language": "english", "duration": 2.5}
        made = transcriber_of(server.url)
        yield made
        await made.aclose()


async def test_it_writes_down_what_is_said(transcriber: Transcriber) -> None:
    """Text without blanks around it, language as a code, length, and who listened."""
    transcript = await transcriber.transcribe(Recording(SOUND, "audio/wav"))

    assert (TEXT, "en", 2.5, "whisper-1") == (
        transcript.text,
        transcript.language_code,
        transcript.duration,
        transcript.model,
    )


@pytest.mark.parametrize("content_type", ["audio/wav", "audio/mpeg", "audio/webm;codecs=opus", "audio/x-m4a"])
async def test_it_takes_what_phones_and_browsers_record(transcriber: Transcriber, content_type: str) -> None:
    """Each of the media types, with parameters or without."""
    assert TEXT == (await transcriber.transcribe(Recording(SOUND, content_type, "en-GB"))).text


async def test_nothing_is_missing(transcriber: Transcriber) -> None:
    """It is set up, under the one name."""
    assert ("transcribe", "") == (transcriber.name, transcriber.missing())


async def test_an_empty_recording_is_refused(transcriber: Transcriber) -> None:
    """INVALID_INPUT, by a typed error."""
    with pytest.raises(ProviderError) as caught:
        await transcriber.transcribe(Recording(b"", "audio/wav"))

    assert (ProviderErrorKind.INVALID_INPUT, "transcribe") == (caught.value.kind, caught.value.provider)

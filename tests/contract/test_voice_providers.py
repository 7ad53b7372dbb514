"""What every voice provider holds to."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from support.elevenlabs_fake import elevenlabs_on_aimock, elevenlabs_provider
from support.speech_fake import aimock_speech_provider, speech_provider
from support.voice_kit import NamedVoice
from support.voice_processes import without_neural

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.encoder import AudioEncoder, Sound
from voice_service.audio.verify import SegmentFinisher
from voice_service.ports import AudioChunk, Probing, SegmentRequest, Timings, VoiceProvider, VoiceSettings, WordTiming
from voice_service.providers.mock.provider import MockVoiceProvider
from voice_service.providers.offline.provider import OfflineVoiceProvider
from voice_service.providers.speech.provider import SpeechProvider

TEXT = "The fox ran home, and she was very tired. Then she slept until the morning came."


PROVIDERS = (
    "mock",
    "named",
    "elevenlabs",
    "elevenlabs on aimock",
    "speech",
    "speech on aimock",
    "offline",
    "offline with espeak-ng",
)
WITHOUT_TIMINGS = ("elevenlabs on aimock", "speech", "speech on aimock")
# aimock says the same to every request.
PACED = [name for name in PROVIDERS if not name.endswith("on aimock")]


@pytest.fixture(scope="module", params=PROVIDERS)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[VoiceProvider]:
    """Each provider that works without a network."""
    made: VoiceProvider
    if request.param == "elevenlabs":
        async with elevenlabs_provider() as made:
            yield made
        return
    if request.param == "elevenlabs on aimock":
        async with elevenlabs_on_aimock() as made:
            yield made
        return
    if request.param == "speech":
        async with speech_provider() as (made, _):
            yield made
        return
    if request.param == "speech on aimock":
        async with aimock_speech_provider(name=request.param) as (made, _):
            yield made
        return
    match request.param:
        case "mock":
            made = MockVoiceProvider()
        case "named":
            made = NamedVoice("other")
        case "offline":
            made = OfflineVoiceProvider(workers=1)
        case _:
            made = without_neural()
    yield made
    await made.aclose()


def _request(text: str = TEXT, **more: Any) -> SegmentRequest:
    return SegmentRequest(text=text, language_code="en", **more)


async def _spoken(provider: VoiceProvider, request: SegmentRequest) -> tuple[bytes, tuple[WordTiming, ...]]:
    audio = b""
    words: tuple[WordTiming, ...] = ()
    async with aclosing(provider.synthesize(request)) as items:
        async for item in items:
            match item:
                case AudioChunk(data):
                    audio += data
                case Timings(found):
                    words = found
    return audio, words


async def _finished(provider: VoiceProvider, request: SegmentRequest) -> Sound:
    encoder = AudioEncoder(1)
    try:
        audio, _ = await _spoken(provider, request)
        return await SegmentFinisher(encoder).finish(audio, request=request, metadata=provider.metadata)
    finally:
        await encoder.aclose()


async def test_it_says_what_it_is(provider: VoiceProvider) -> None:
    """A name, what it takes, and that it can be called."""
    metadata = provider.metadata

    assert metadata.name
    assert metadata.display_name
    assert metadata.max_text_length >= 600
    assert "en" in metadata.languages
    assert metadata.default_voice
    assert metadata.default_model
    assert "" == await provider.validate_configuration()


async def test_what_it_speaks_passes_verification_and_is_the_same_each_time(provider: VoiceProvider) -> None:
    """Whole frames of the story's format, as long as the text needs."""
    first, second = await _finished(provider, _request()), await _finished(provider, _request())

    assert first.data == second.data
    assert 2.5 < first.duration < 15


@pytest.mark.parametrize("provider", PACED, indirect=True, scope="module")
async def test_another_pace_takes_another_time(provider: VoiceProvider) -> None:
    """Half the speed is longer."""
    slow = await _finished(provider, _request(settings=VoiceSettings(speed=0.6)))

    assert slow.duration > (await _finished(provider, _request())).duration * 1.2


async def test_words_are_in_order_within_the_sound(provider: VoiceProvider, request: pytest.FixtureRequest) -> None:
    """Every word of the text, at growing times, from those who know; none where they are not asked for."""
    segment = await _finished(provider, _request())
    _, words = await _spoken(provider, _request(with_timings=True))
    _, none = await _spoken(provider, _request())

    untimed = request.node.callspec.params["provider"] in WITHOUT_TIMINGS
    spoken = [] if untimed else TEXT.replace(",", "").replace(".", "").split()
    assert spoken == [TEXT[word.text_start : word.text_end] for word in words]
    assert all(word.start <= word.end <= segment.duration + 0.2 for word in words)
    assert sorted(word.start for word in words) == [word.start for word in words]
    assert () == none


async def test_voices_are_listed_by_language(provider: VoiceProvider) -> None:
    """Those of a language are among all; each speaks it, and can be asked for."""
    everything = {voice.voice_id for voice in await provider.list_voices()}
    english = [voice.voice_id for voice in await provider.list_voices("en")]

    assert english
    assert set(english) <= everything
    assert (await _finished(provider, _request(voice_id=english[0]))).duration > 2.5


async def test_it_knows_its_voices(provider: VoiceProvider) -> None:
    """Those that it lists and its default, for any language; nobody else's where its list is complete."""
    default = provider.metadata.default_voice
    listed = [voice.voice_id for voice in await provider.list_voices("en")]

    for voice_id in (default, *listed):
        assert await provider.knows_voice(voice_id, "en")
        assert await provider.knows_voice(voice_id, "tlh")
    for voice_id in ("xx", f"{default}zzz", f"{default}+zzz", "+zzz", "../../etc"):
        assert isinstance(provider, SpeechProvider) is await provider.knows_voice(voice_id, "en")


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_an_empty_text_is_refused(provider: VoiceProvider, text: str) -> None:
    """INVALID_INPUT, by a typed error that names the provider."""
    with pytest.raises(ProviderError) as caught:
        await _spoken(provider, _request(text))

    assert (ProviderErrorKind.INVALID_INPUT, provider.metadata.name) == (caught.value.kind, caught.value.provider)


async def test_a_text_beyond_its_limit_is_refused(provider: VoiceProvider) -> None:
    """INVALID_INPUT."""
    with pytest.raises(ProviderError) as caught:
        await _spoken(provider, _request("a " * provider.metadata.max_text_length))

    assert (ProviderErrorKind.INVALID_INPUT, False) == (caught.value.kind, caught.value.retryable)


async def test_it_can_be_asked_whether_it_is_well(provider: VoiceProvider) -> None:
    """Cheaply and without any text: where it is, nothing is raised."""
    if isinstance(provider, Probing):
        await provider.probe()


async def test_a_stream_that_is_left_early_harms_nothing(provider: VoiceProvider) -> None:
    """The next call works."""
    async with aclosing(provider.synthesize(_request())) as items:
        await anext(items)

    assert (await _finished(provider, _request())).duration > 2.5

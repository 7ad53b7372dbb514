"""The `speech` provider against a server that fails as told: every failure has its kind, and no rate is wrong."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from support.speech_fake import Reply, SpeechFake, aimock_speech_provider, speech_config, speech_fake, speech_provider
from support.voice_kit import STORY, voice_service

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from voice_service.audio.decode import AudioError, Pcm, decode, samples_of_mp3
from voice_service.audio.mp3 import Walk
from voice_service.ports import MP3_44100_128, AudioChunk, CallFacts, SegmentRequest, VoiceSettings
from voice_service.providers.speech.provider import SpeechProvider
from voice_service.synthesis.call import Order, Timers, collect

TEXT = "The fox ran home, and she was very tired."
SECONDS = len(TEXT) / 15
KIND = ProviderErrorKind


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[tuple[SpeechProvider, SpeechFake]]:
    async with speech_provider() as made:
        yield made


@pytest.fixture
def pair(shared: tuple[SpeechProvider, SpeechFake]) -> Iterator[tuple[SpeechProvider, SpeechFake]]:
    """A provider and its server, as at the beginning."""
    shared[1].reset()
    yield shared
    assert 0 == shared[1].unused()


@pytest.fixture
async def fresh() -> AsyncIterator[tuple[SpeechProvider, SpeechFake]]:
    """A provider that does not know its server's voices yet."""
    async with speech_provider() as made:
        yield made


def ordered(provider: SpeechProvider) -> Order:
    return Order(provider=provider, request=request(), story_format=MP3_44100_128)


def request(text: str = TEXT, **given: Any) -> SegmentRequest:
    return SegmentRequest(**{"text": text, "language_code": "en", **given})


async def spoken(provider: SpeechProvider, **given: Any) -> bytes:
    """The samples of a segment."""
    async with aclosing(provider.synthesize(request(**given))) as items:
        return b"".join([item.data async for item in items if isinstance(item, AudioChunk)])


async def heard(provider: SpeechProvider, **given: Any) -> Pcm:
    """The samples of a segment, as they are made of what the server sends. Raises ProviderError."""
    content_type, audio = "", b""
    async with aclosing(provider.synthesize(request(**given))) as items:
        async for item in items:
            if isinstance(item, CallFacts):
                content_type = item.content_type
            elif isinstance(item, AudioChunk):
                audio += item.data
    try:
        found = decode(audio, content_type=content_type, sample_rate=provider.metadata.sample_rate)
        return samples_of_mp3(found) if isinstance(found, Walk) else found
    except AudioError as error:
        raise ProviderError(error.kind, str(error), provider=provider.metadata.name) from error


async def failure(provider: SpeechProvider, **given: Any) -> ProviderError:
    """The error of a segment that must fail."""
    with pytest.raises(ProviderError) as caught:
        await heard(provider, **given)
    assert provider.metadata.name == caught.value.provider
    return caught.value


def tone(pcm: bytes, sample_rate: int = 24_000) -> float:
    """The loudest frequency, in Hz."""
    samples = np.frombuffer(pcm, dtype="<i2").astype("float64")
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * sample_rate / len(samples)


async def test_it_asks_for_what_the_segment_wants(pair: tuple[SpeechProvider, SpeechFake]) -> None:
    """Text, model, voice, format and pace, under the key; nothing that was not said."""
    provider, server = pair
    await spoken(provider)
    await spoken(provider, voice_id="am_adam", model_id="other", settings=VoiceSettings(speed=0.8, stability=0.5))

    first, second = server.speeches
    assert {"input": TEXT, "model": "kokoro", "voice": "af_heart", "response_format": "pcm"} == first.body
    assert {"input": TEXT, "model": "other", "voice": "am_adam", "response_format": "pcm", "speed": 0.8} == second.body
    assert "Bearer secret-key" == first.headers["Authorization"]


async def test_the_default_is_the_first_of_its_languages() -> None:
    """Whatever place the settings have it at; voices of the server come behind those of the settings."""
    async with speech_provider(voice="home", voices={"en": ("en-1", "home"), "ru": ("ru-1",)}) as (provider, server):
        server.voices = [{"id": "en-0", "language": "en"}]
        listed = {code: [voice.voice_id for voice in await provider.list_voices(code)] for code in ("en", "ru")}

    assert {"en": ["home", "en-1", "en-0"], "ru": ["ru-1"]} == listed


async def test_extra_fields_are_sent_along() -> None:
    """What the operator adds to every request."""
    async with speech_provider(extra={"provider": {"data_collection": "deny"}}) as (provider, server):
        await spoken(provider)

    assert {"data_collection": "deny"} == server.speeches[0].body["provider"]


async def test_the_voice_is_of_the_language() -> None:
    """The first that is set for it, else the default; the default where it is among them."""
    voices = {"en": ("en-1", "en-2"), "ru": ("ru-1", "home")}
    async with speech_provider(voice="home", voices=voices) as (provider, server):
        for language_code in ("en-GB", "ru", "sv"):
            await spoken(provider, language_code=language_code)

    assert ["en-1", "home", "home"] == [speech.body["voice"] for speech in server.speeches]


async def test_a_server_without_a_key_gets_none() -> None:
    """No header with nothing in it, whatever the environment of the SDK says."""
    async with speech_provider(key="") as (provider, server):
        await spoken(provider)

    assert "Authorization" not in server.speeches[0].headers


async def test_a_key_that_rotates_is_used_at_once(tmp_path: Path) -> None:
    """The next call has the new one."""
    file, now = tmp_path / "key", [0.0]
    file.write_text("old-key")
    key = SecretSource(None, file, name="SPEECH_API_KEY", clock=lambda: now[0])
    async with speech_provider(key=key) as (provider, server):
        await spoken(provider)
        file.write_text("a-newer-key")
        now[0] += 60
        await spoken(provider)

    assert ["Bearer old-key", "Bearer a-newer-key"] == [call.headers["Authorization"] for call in server.speeches]


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "with blank"])
async def test_a_key_that_is_none_never_leaves(key: str) -> None:
    """AUTH, and the key is not in the error."""
    async with speech_provider(key=key) as (provider, server):
        error = await failure(provider)

    assert KIND.AUTH is error.kind
    assert key not in repr(error)
    assert [] == server.speeches


async def test_samples_stream_as_they_come(pair: tuple[SpeechProvider, SpeechFake]) -> None:
    """The first of them are there while the server still speaks."""
    provider, server = pair
    go_on = asyncio.Event()
    server.script(Reply(pause=go_on))
    pcm = b""
    async with aclosing(provider.synthesize(request())) as items:
        async for item in items:
            if isinstance(item, AudioChunk):
                pcm += item.data
                go_on.set()

    assert server.sound(server.speeches[0].body, "pcm") == pcm


async def test_the_servers_id_of_a_call_is_told(pair: tuple[SpeechProvider, SpeechFake]) -> None:
    """OpenAI's header, or OpenRouter's; none that could be more than an id."""
    provider, server = pair
    server.script(
        Reply(),
        Reply(headers={"X-Request-Id": "", "X-Generation-Id": "gen-tts-1"}),
        Reply(headers={"X-Request-Id": "i" * 200}),
    )
    found = []
    for _ in range(3):
        async with aclosing(provider.synthesize(request())) as items:
            found += [item.request_id async for item in items if isinstance(item, CallFacts)]

    assert ["call-1", "gen-tts-1", ""] == found


@pytest.mark.parametrize(
    ("form", "sample_rate", "channels"),
    [("wav", 22_050, 1), ("wav", 44_100, 2), ("mp3", 44_100, 2), ("flac", 16_000, 1), ("opus", 48_000, 1)],
)
@pytest.mark.parametrize("media_type", [None, "application/octet-stream"])
async def test_a_file_is_decoded_at_its_own_rate(
    form: str, sample_rate: int, channels: int, media_type: str | None
) -> None:
    """Whatever its rate and channels: the right length and the right pitch at the rate that is declared."""
    async with speech_provider(response_format=form) as (provider, server):
        server.sample_rate, server.channels, server.media_type = sample_rate, channels, media_type
        pcm = await heard(provider)
        assert form == server.speeches[0].body["response_format"]
        original = server.sound(server.speeches[0].body, "pcm")

    assert pcm.duration == pytest.approx(SECONDS, abs=0.05)
    assert tone(pcm.samples.tobytes(), pcm.sample_rate) == pytest.approx(
        tone(original[::channels] if channels == 1 else _left(original), sample_rate), 0.02
    )


def _left(pcm: bytes) -> bytes:
    return np.frombuffer(pcm, dtype="<i2").reshape(-1, 2)[:, 0].tobytes()


@pytest.mark.parametrize("form", ["wav", "mp3", "flac"])
async def test_a_server_that_ignores_the_format_is_understood(form: str) -> None:
    """It was asked for samples and sends a file at another rate."""
    async with speech_provider() as (provider, server):
        server.sends, server.sample_rate = form, 16_000
        pcm = await heard(provider)

    assert pcm.duration == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize(("stated", "channels"), [("rate=16000", 1), ("rate=48000;channels=2", 2)])
async def test_a_stated_rate_is_believed(pair: tuple[SpeechProvider, SpeechFake], stated: str, channels: int) -> None:
    """OpenRouter's `audio/pcm;rate=…;channels=…` where it differs from what is declared."""
    provider, server = pair
    server.sample_rate, server.channels = int(stated[5:10]), channels
    server.media_type = f"audio/pcm;{stated}"
    pcm = await heard(provider)

    assert pcm.duration == pytest.approx(SECONDS, abs=0.05)


@pytest.mark.parametrize("stated", ["rate=0", "rate=1e9", "rate=24000;channels=0", "rate=24000;channels=99"])
async def test_a_rate_that_is_none_is_refused(pair: tuple[SpeechProvider, SpeechFake], stated: str) -> None:
    """UNSUPPORTED, in place of sound at a rate that was guessed."""
    provider, server = pair
    server.media_type = f"audio/pcm;{stated}"

    assert KIND.UNSUPPORTED is (await failure(provider)).kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, KIND.UNSUPPORTED),
        (400, KIND.INVALID_INPUT),
        (401, KIND.AUTH),
        (402, KIND.QUOTA),
        (403, KIND.AUTH),
        (404, KIND.UNSUPPORTED),
        (405, KIND.UNSUPPORTED),
        (408, KIND.TIMEOUT),
        (413, KIND.INVALID_INPUT),
        (422, KIND.INVALID_INPUT),
        (429, KIND.RATE),
        (500, KIND.OVERLOAD),
        (501, KIND.UNSUPPORTED),
        (502, KIND.OVERLOAD),
        (503, KIND.OVERLOAD),
        (529, KIND.OVERLOAD),
    ],
)
async def test_a_status_has_its_kind(
    pair: tuple[SpeechProvider, SpeechFake], status: int, kind: ProviderErrorKind
) -> None:
    """One call each, since the SDK's own retries are off; a redirect is not followed."""
    provider, server = pair
    headers = {"Retry-After": "7", "Location": "/v1/models"}
    server.script(Reply(status=status, headers=headers, body=b"secret words", content_type="text/plain"))
    error = await failure(provider)

    assert (kind, status, 7.0, "call-1") == (error.kind, error.status, error.retry_after, error.request_id)
    assert "secret words" not in str(error)
    assert (1, []) == (len(server.speeches), server.asked)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b'{"error": {"code": "insufficient_quota"}}', KIND.QUOTA),
        (400, b'{"error": {"code": "content_policy_violation"}}', KIND.CONTENT_POLICY),
        (403, b'{"error": {"code": 403, "metadata": {"reasons": ["violence"]}}}', KIND.CONTENT_POLICY),
        (400, b'{"error": {"code": null, "type": "invalid_request_error"}}', KIND.INVALID_INPUT),
        (400, b'{"detail": {"error": "invalid_model", "message": "no"}}', KIND.UNSUPPORTED),
        (500, b"[1, 2]", KIND.OVERLOAD),
    ],
)  # fmt: skip
async def test_a_code_in_the_body_goes_before_the_status(
    pair: tuple[SpeechProvider, SpeechFake], status: int, body: bytes, kind: ProviderErrorKind
) -> None:
    """As OpenAI, OpenRouter and Kokoro-FastAPI send them."""
    provider, server = pair
    server.script(Reply(status=status, body=body, content_type="application/json"))

    assert kind is (await failure(provider)).kind


@pytest.mark.parametrize("content_type", ["application/json", "audio/pcm", "application/octet-stream"])
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"error": {"code": 429, "message": "secret words"}}', KIND.RATE, 429),
        (b'{"error": {"code": "insufficient_quota"}}', KIND.QUOTA, 200),
        (b'{"error": {"message": "secret words"}}', KIND.TRANSPORT, 200),
        (b'{"error": "secret words, cut off', KIND.TRANSPORT, 0),
    ],
)
async def test_an_error_in_a_200_is_one(
    pair: tuple[SpeechProvider, SpeechFake], content_type: str, body: bytes, kind: ProviderErrorKind, status: int
) -> None:
    """Whatever the server calls it."""
    provider, server = pair
    server.script(Reply(body=body, content_type=content_type))
    error = await failure(provider)

    assert (kind, status) == (error.kind, error.status)
    assert "secret" not in str(error)


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("form", ["pcm", "wav"])
async def test_a_connection_that_breaks_off_is_no_end(form: str, sized: bool) -> None:
    """TRUNCATED after some of the sound, with the length announced or in the middle of chunks."""
    async with speech_provider(response_format=form) as (provider, server):
        server.script(Reply(cut_after=20_000, sized=sized))
        error = await failure(provider)

    assert (KIND.TRUNCATED, True) == (error.kind, error.retryable)


@pytest.mark.parametrize("sized", [True, False])
async def test_a_connection_that_breaks_before_the_sound_is_told_apart(
    pair: tuple[SpeechProvider, SpeechFake], sized: bool
) -> None:
    """TRANSPORT."""
    provider, server = pair
    server.script(Reply(cut_after=0, sized=sized))

    assert KIND.TRANSPORT is (await failure(provider)).kind


async def test_a_server_that_is_away_is_told_so() -> None:
    """TRANSPORT on a refused connection."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = SpeechProvider(speech_config(f"http://127.0.0.1:{unused.getsockname()[1]}/v1"))
        error = await failure(provider)
        with pytest.raises(ProviderError) as caught:
            await provider.probe()
        voices = await provider.list_voices()
        await provider.aclose()

    assert (KIND.TRANSPORT, KIND.TRANSPORT) == (error.kind, caught.value.kind)
    assert ["af_heart"] == [voice.voice_id for voice in voices]


async def test_a_server_that_stalls_runs_into_the_timers(pair: tuple[SpeechProvider, SpeechFake]) -> None:
    """TIMEOUT before the first byte, and between two of them; the call is given up."""
    provider, server = pair
    never = asyncio.Event()
    for reply, timers in (
        (Reply(hold=never), Timers(first_byte=0.05)),
        (Reply(pause=never), Timers(first_byte=20, idle=0.05)),
    ):
        server.script(reply)
        with pytest.raises(ProviderError) as caught:
            await collect(ordered(provider), timers, on_facts=lambda _: None, on_first_byte=lambda: None)
        assert KIND.TIMEOUT is caught.value.kind
        # On a busy machine the time may be up before the server has heard of the call.
        server.forget()


async def test_the_timers_see_a_file_that_is_on_its_way() -> None:
    """Its first bytes are the first byte, long before it is whole; a pause within it is a pause."""
    go_on = asyncio.Event()
    began: list[bool] = []

    def begin() -> None:
        began.append(go_on.is_set())
        go_on.set()

    async with speech_provider(response_format="wav") as (provider, server):
        server.script(Reply(pause=go_on))
        got = await collect(ordered(provider), Timers(first_byte=20), on_facts=lambda _: None, on_first_byte=begin)
        server.script(Reply(pause=asyncio.Event()))
        timers = Timers(first_byte=20, idle=0.05)
        with pytest.raises(ProviderError) as caught:
            await collect(ordered(provider), timers, on_facts=lambda _: None, on_first_byte=lambda: None)

    assert [False] == began
    assert decode(got.audio, sample_rate=24_000).duration == pytest.approx(SECONDS, abs=0.05)
    assert (KIND.TIMEOUT, "no more audio came in time") == (caught.value.kind, caught.value.message)


async def test_a_segment_that_is_left_early_gives_its_connection_back(
    pair: tuple[SpeechProvider, SpeechFake],
) -> None:
    """The server may stop; none stays open behind it."""
    provider, server = pair
    never = asyncio.Event()
    for _ in range(3):
        server.script(Reply(pause=never))
        async with aclosing(provider.synthesize(request())) as items:
            async for item in items:
                if isinstance(item, AudioChunk):
                    break
    client: Any = await provider._client.get()

    assert [] == client._client._transport._pool.connections


async def test_no_log_of_any_library_has_the_text_or_the_key(
    pair: tuple[SpeechProvider, SpeechFake], caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG either, whether it goes well or not."""
    provider, server = pair
    server.script(Reply(), Reply(status=400, body=b"The fox"), Reply(cut_after=9))
    with caplog.at_level(logging.DEBUG):
        await spoken(provider)
        await failure(provider)
        await failure(provider)

    assert "httpcore2" in caplog.text or "openai" in caplog.text
    assert "The fox" not in caplog.text
    assert "secret-key" not in caplog.text


async def test_a_story_is_whole_though_the_server_breaks_off() -> None:
    """Only the segment that was cut is asked for again: the same segments and lengths, every word once."""
    told, asked = [], []
    for replies in ((), (Reply(), Reply(cut_after=30_000), Reply(status=503))):
        async with speech_provider() as (provider, server):
            # Otherwise the narration would ask for it and get the first reply.
            await provider.list_voices()
            server.script(*replies)
            async with voice_service(provider, default_provider="speech", segments_ahead=0) as voice:
                told.append(await voice.tell(STORY))
            asked.append([speech.body["input"] for speech in server.speeches])

    whole, mended = told
    assert mended.error is None
    assert [
        (each.text.start, each.text.end, each.audio.end, each.duration.ToNanoseconds()) for each in whole.segments
    ] == [(each.text.start, each.text.end, each.audio.end, each.duration.ToNanoseconds()) for each in mended.segments]
    assert len(STORY) == mended.segments[-1].text.end
    assert {"speech"} == {segment.provider for segment in mended.segments}
    assert [asked[0][0], *[asked[0][1]] * 3, *asked[0][2:]] == asked[1]


@pytest.mark.parametrize("form", ["pcm", "wav"])
async def test_an_empty_answer_is_no_silence(form: str) -> None:
    """TRUNCATED."""
    async with speech_provider(response_format=form) as (provider, server):
        server.script(Reply(body=b""))

        assert KIND.TRUNCATED is (await failure(provider)).kind


@pytest.mark.parametrize("content_type", ["text/html", "text/event-stream", "audio/l16", "image/png"])
async def test_what_is_no_audio_is_refused(pair: tuple[SpeechProvider, SpeechFake], content_type: str) -> None:
    """TRANSPORT."""
    provider, server = pair
    server.script(Reply(body=b"<html>502 Bad Gateway</html>", content_type=content_type))

    assert KIND.TRANSPORT is (await failure(provider)).kind


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "opus"])
async def test_a_file_that_is_not_whole_is_refused(form: str) -> None:
    """TRUNCATED though HTTP was fine: a proxy or the server itself has lost the end."""
    async with speech_provider(response_format=form) as (provider, server):
        server.sample_rate = 48_000 if form == "opus" else 24_000
        body = {"input": TEXT, "voice": "af_heart", "response_format": form}
        whole = server.sound(body, form)
        for lost in (1, len(whole) // 2):
            server.script(Reply(body=whole[:-lost]))
            assert KIND.TRUNCATED is (await failure(provider)).kind


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "opus"])
async def test_garbage_under_the_name_of_a_file_is_refused(form: str) -> None:
    """UNSUPPORTED: there is nothing to hear."""
    async with speech_provider(response_format=form) as (provider, server):
        server.script(Reply(body=np.random.default_rng(2).bytes(15_000)))

        assert KIND.UNSUPPORTED is (await failure(provider)).kind


async def test_half_a_sample_is_refused(pair: tuple[SpeechProvider, SpeechFake]) -> None:
    """TRUNCATED: raw samples pass through the provider, and do not end."""
    provider, server = pair
    server.script(Reply(body=bytes(100_001)))

    assert KIND.TRUNCATED is (await failure(provider)).kind


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"base_url": ""}, "SPEECH_BASE_URL"),
        ({"model": "", "base_url": "https://tts.example/v1"}, "SPEECH_MODEL"),
        ({"key": "", "key_variable": "KOKORO_KEY"}, "KOKORO_KEY"),
    ],
)
async def test_what_is_not_set_up_says_what_to_set(given: dict[str, Any], named: str) -> None:
    """The variable is named, and no call is made."""
    provider = SpeechProvider(speech_config(**{"base_url": "http://127.0.0.1:1/v1", **given}))

    assert named in await provider.validate_configuration()
    error = await failure(provider)
    assert KIND.AUTH is error.kind
    assert named in error.message
    await provider.list_voices()
    await provider.aclose()


async def test_no_model_of_openai_is_a_default() -> None:
    """They end in January 2027: a model has to be given."""
    config = speech_config("https://api.openai.com/v1", model="")

    assert "SPEECH_MODEL" in config.missing()


KOKORO_MODELS = {"data": [{"id": "tts-1"}, {"id": "tts-1-hd"}, {"id": "kokoro"}]}
KOKORO_VOICES = {"voices": ["am_adam", "af_alloy", "af_heart", "bf_emma", "ef_dora", "ff_siwis"]}


async def test_server_alone_is_enough() -> None:
    """Kokoro: its model and, by language, the voices that it lists; English is read by af_heart."""
    async with speech_provider(model="", voice="") as (provider, server):
        server.models, server.voices = KOKORO_MODELS, KOKORO_VOICES
        assert "" == await provider.validate_configuration()
        for language_code in ("en", "en-GB", "es", "fr", "sv"):
            await spoken(provider, language_code=language_code)
        assert "" == await provider.validate_configuration()
        metadata = provider.metadata
        first = [(await provider.list_voices(code))[0].voice_id for code in ("en", "es")]

    assert {"kokoro"} == {speech.body["model"] for speech in server.speeches}
    assert ["af_heart", "bf_emma", "ef_dora", "ff_siwis", "af_heart"] == [
        each.body["voice"] for each in server.speeches
    ]
    assert ("kokoro", "af_heart") == (metadata.default_model, metadata.default_voice)
    assert {"en-US", "en-GB", "es", "fr"} == {*metadata.languages}
    assert ["af_heart", "ef_dora"] == first
    assert 1 == server.asked.count("/v1/models")


@pytest.mark.parametrize(
    ("models", "voices", "model", "voice"),
    [
        ([{"id": "Systran/faster-whisper-small"}, {"id": "speaches-ai/Kokoro-82M-v1.0-ONNX"}], ["x"], 1, "x"),
        ([{"id": "a", "task": "automatic-speech-recognition"}, {"id": "b", "task": "text-to-speech"}], ["x"], 1, "x"),
        ([{"id": "llama-3"}, {"id": "whisper-1"}, {"id": "voice-en-us-amy-low"}], ["x"], 2, "x"),
        ([{"id": "tts-1"}], KOKORO_VOICES["voices"], 0, "af_heart"),
        ([{"id": "anything"}], [{"id": "de-1", "language": "de"}, {"id": "en-1", "language": "en"}], 0, "en-1"),
        (
            [{"id": "piper-en"}, {"id": "kokoro"}],
            {"voices": [{"voice_id": "af_heart", "model_id": "kokoro"}, {"voice_id": "amy", "model_id": "piper-en"}]},
            0,
            "amy",
        ),
    ],
)
async def test_model_and_voice_are_chosen_in_a_known_order(models: Any, voices: Any, model: int, voice: str) -> None:
    """A model that is said to speak, one that is called so, the only one; af_heart, English, the first."""
    async with speech_provider(model="", voice="") as (provider, server):
        server.models, server.voices = {"data": models}, voices
        await spoken(provider)

    assert (models[model]["id"], voice) == (server.speeches[0].body["model"], server.speeches[0].body["voice"])


@pytest.mark.parametrize(
    ("models", "voices", "given", "named"),
    [
        ([], ["x"], {"model": ""}, "SPEECH_MODEL"),
        ([{"id": "llama-3"}, {"id": "qwen"}], ["x"], {"model": ""}, "lists llama-3, qwen"),
        ([{"id": "kokoro"}], None, {"model": "", "voice": ""}, "SPEECH_VOICE"),
        ([{"id": "kokoro"}], [], {"voice": ""}, "SPEECH_VOICE"),
    ],
)
async def test_what_a_server_does_not_list_has_to_be_set(
    models: Any, voices: Any, given: dict[str, Any], named: str
) -> None:
    """The variable and what there is; no call is made."""
    async with speech_provider(**given) as (provider, server):
        server.models, server.voices = {"data": models}, voices
        error = await failure(provider)
        assert named in await provider.validate_configuration()

    assert KIND.AUTH is error.kind
    assert named in error.message
    assert [] == server.speeches


async def test_server_that_starts_later_is_asked_then() -> None:
    """Until it answers its calls fail as those of one that is away, so that it is waited for."""
    async with speech_fake() as server:
        provider = SpeechProvider(speech_config("http://127.0.0.1:1/v1", model="", voice=""))
        assert "" == await provider.validate_configuration()
        assert KIND.TRANSPORT is (await failure(provider)).kind
        await provider.aclose()

        server.models, server.voices = KOKORO_MODELS, KOKORO_VOICES
        provider = SpeechProvider(speech_config(server.url, model="", voice=""))
        server.script(Reply(status=503))
        assert KIND.OVERLOAD is (await failure(provider)).kind
        await spoken(provider)
        await provider.aclose()

    assert ["kokoro"] == [speech.body["model"] for speech in server.speeches]


KOKORO_OLD = {"voices": ["af_heart", "bm_george", "ef_dora"]}
KOKORO_NEW = {"voices": [{"id": "af_heart", "name": "af_heart"}, {"id": "bm_george"}, {"id": "ef_dora"}]}
SPEACHES = {
    "voices": [
        {"name": "af_heart", "language": "en-us", "gender": "female", "id": "af_heart"},
        {"name": "bm_george", "language": "en-gb", "gender": "male", "id": "bm_george"},
        {"name": "ef_dora", "language": "es", "gender": "female", "id": "ef_dora"},
    ],
    "object": "list",
}


DATA = {"data": KOKORO_NEW["voices"]}
BARE = ["bm_george", "ef_dora"]


@pytest.mark.parametrize("answer", [KOKORO_OLD, KOKORO_NEW, SPEACHES, DATA, BARE])
async def test_the_servers_own_voices_are_listed(fresh: tuple[SpeechProvider, SpeechFake], answer: Any) -> None:
    """Behind those of the settings, with the languages that they say or that Kokoro's names tell."""
    provider, server = fresh
    server.voices = answer
    everything = {voice.voice_id: (voice.language_codes, voice.gender) for voice in await provider.list_voices()}

    assert {
        "af_heart": (("en",), "female"),
        "bm_george": (("en-GB",), "male"),
        "ef_dora": (("es",), "female"),
    } == everything
    assert ["ef_dora"] == [voice.voice_id for voice in await provider.list_voices("es-ES")]
    assert await provider.knows_voice("bm_george", "tlh")
    assert ["/v1/audio/voices"] == server.asked


@pytest.mark.parametrize(
    "answer", [{}, {"voices": None}, "no", {"voices": [1, {}, {"id": 3}, {"id": "a\nb"}, "x" * 300]}]
)
async def test_a_list_that_can_not_be_read_is_none(fresh: tuple[SpeechProvider, SpeechFake], answer: Any) -> None:
    """The voices of the settings remain."""
    provider, server = fresh
    server.voices = answer

    assert ["af_heart"] == [voice.voice_id for voice in await provider.list_voices()]


async def test_a_voice_is_not_unknown_while_the_list_can_not_be_had(fresh: tuple[SpeechProvider, SpeechFake]) -> None:
    """The call itself will tell; a blank name is none."""
    provider, server = fresh
    server.script(Reply(status=503))
    assert [True, True, False] == [await provider.knows_voice(each, "en") for each in ("af_heart", "bm_george", " ")]

    assert ["af_heart"] == [voice.voice_id for voice in await provider.list_voices()]
    assert 1 == len(server.asked)


async def test_the_list_is_there_before_it_is_needed(fresh: tuple[SpeechProvider, SpeechFake]) -> None:
    """A service that starts loads the SDK and the voices in the background; one that is not set up asks nobody."""
    provider, server = fresh
    server.voices = ["bm_george"]
    provider.warm_up()
    await _settled(provider)
    assert ["/v1/audio/voices"] == server.asked
    assert await provider.knows_voice("bm_george", "en")
    assert 1 == len(server.asked)
    unset = SpeechProvider(speech_config("", model=""))
    unset.warm_up()
    with pytest.raises(ProviderError) as caught:
        await unset.probe()
    await unset.aclose()

    assert KIND.AUTH is caught.value.kind


@pytest.mark.parametrize(("status", "wait"), [(429, 9.0), (503, None)])
async def test_the_end_of_a_rate_limit_matters_where_it_is_reached(
    pair: tuple[SpeechProvider, SpeechFake], status: int, wait: float | None
) -> None:
    """X-RateLimit-Reset comes with every answer of some servers."""
    provider, server = pair
    server.script(Reply(status=status, headers={"X-RateLimit-Reset": "9"}))

    assert wait == (await failure(provider)).retry_after


async def test_the_list_is_asked_for_again_when_it_is_old() -> None:
    """Ten minutes after it came, half a minute after it failed; what was known stays, and no caller waits."""
    now = [0.0]
    async with speech_provider() as (provider, server):
        provider._voices._clock = lambda: now[0]
        server.voices = ["bm_george"]
        assert await provider.knows_voice("bm_george", "en")
        now[0] = 599.0
        assert await provider.knows_voice("bm_george", "en")
        assert 1 == len(server.asked)
        now[0], server.voices = 601.0, ["ef_dora"]
        server.script(Reply(status=500))
        assert await provider.knows_voice("bm_george", "en")
        await _settled(provider)
        now[0] = 630.0
        assert await provider.knows_voice("bm_george", "en")
        assert 2 == len(server.asked)
        now[0] = 632.0
        assert await provider.knows_voice("bm_george", "en")
        await _settled(provider)
        assert await provider.knows_voice("ef_dora", "en")
        assert 3 == len(server.asked)


async def _settled(provider: SpeechProvider) -> None:
    await provider._voices.settled()


async def test_a_probe_asks_for_the_models_alone(pair: tuple[SpeechProvider, SpeechFake]) -> None:
    """No text and no cost; a server without such a list is there all the same, one that is busy is not."""
    provider, server = pair
    await provider.probe()
    server.script(Reply(status=404))
    await provider.probe()
    for status, kind in ((503, KIND.OVERLOAD), (401, KIND.AUTH), (429, KIND.RATE)):
        server.script(Reply(status=status))
        with pytest.raises(ProviderError) as caught:
            await provider.probe()
        assert kind is caught.value.kind

    assert (["/v1/models"] * 5, []) == (server.asked, server.speeches)


@pytest.mark.parametrize(
    ("rates", "kind"),
    [
        ({"dropRate": 1.0}, KIND.OVERLOAD),
        ({"rateLimitRate": 1.0}, KIND.RATE),
        ({"disconnectRate": 1.0}, KIND.TRANSPORT),
        ({"malformedRate": 1.0}, KIND.TRANSPORT),
    ],
)
async def test_aimocks_faults_have_their_kinds(rates: dict[str, float], kind: ProviderErrorKind) -> None:
    """A stand-in that others keep true breaks in ways that we did not write."""
    async with aimock_speech_provider() as (provider, upstream):
        await upstream.chaos(**rates)
        error = await failure(provider)
        calls = await upstream.calls("/audio/speech")

    assert kind is error.kind
    assert 1 == len(calls)


async def test_the_environment_of_the_sdk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither another address nor a key of OpenAI's goes to the server."""
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    key = SecretSource(SecretStr(""), name="SPEECH_API_KEY")
    async with speech_provider(key=key) as (provider, server):
        await spoken(provider)

    assert "openai-key" not in str(server.speeches[0].headers)

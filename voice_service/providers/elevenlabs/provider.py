"""The ElevenLabs provider."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderErrorKind
from voice_service.ports import ProviderMetadata, VoiceRefusedError
from voice_service.providers.elevenlabs.answers import call_facts, plain_audio, timed_audio
from voice_service.providers.elevenlabs.api import FORMATS, NAME, ApiKey, Endpoint, KeyRefusedError, failure
from voice_service.providers.elevenlabs.library import Catalog
from voice_service.providers.elevenlabs.models import is_voice_id, speech_call, takes_previous_text, with_aliases
from voice_service.providers.loading import SDK_LOADING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from voice_service.ports import SegmentRequest, SpeechItem, VoiceInfo
    from voice_service.providers.elevenlabs.api import ElevenLabsConfig
    from voice_service.providers.elevenlabs.client import ElevenLabsClient


_NO_VOICE: Final = "ELEVENLABS_VOICE must be the id of a voice, 20 letters and digits, and not its name"


class ElevenLabsProvider:
    """Speaks with the voices of an ElevenLabs account.

    A request without a voice gets the configured one, else one of the account that suits its language: verified in it,
    else labelled with it, else named after it, else any, since every voice reads every language. Without a model it
    gets the default one. Making it opens nothing; the SDK is loaded in a thread by `warm_up`, or when it is needed. The
    last lists of voices and models stay in use while fetching fails.
    """

    def __init__(
        self,
        config: ElevenLabsConfig,
        *,
        observe: Callable[[str, str, float], None] = lambda _endpoint, _status, _seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`observe` gets endpoint, status and seconds of each call that is no speech.

        Endpoints are "voices", "voice", "models" and "subscription"; status is "success", "cancelled" or the kind of
        failure.
        """
        self._config = config
        self._observe = observe
        self._key = ApiKey(config.key)
        self._catalog = Catalog(config, self._key, self._opened, clock)
        self._opening: asyncio.Task[ElevenLabsClient] | None = None

    @property
    def metadata(self) -> ProviderMetadata:
        """What this provider is: limit and languages are those of the default model, as listed or built in."""
        model = self._catalog.model(self._config.default_model)
        return ProviderMetadata(
            name=NAME,
            display_name="ElevenLabs",
            supports_streaming=self._config.endpoint is not Endpoint.CONVERT,
            native_format=self._config.native_format,
            sample_rate=self._config.sample_rate,
            max_text_length=model.max_characters,
            languages=with_aliases(model.languages),
            paid=True,
            takes_previous_text=True,
            default_voice=self._catalog.default(),
            default_model=self._config.default_model,
            formats=FORMATS,
        )

    @property
    def is_set(self) -> bool:
        """Whether there is a key, even if wrong or refused."""
        return self._key.is_set()

    @property
    def voices_are_stale(self) -> bool:
        """Whether the voices could not be listed when it was time, or never were; what there was is used on."""
        return self._catalog.voices.stale

    def takes_previous_text(self, model_id: str) -> bool:
        """Returns whether the model may be given the text before; those from v3 on may not."""
        return takes_previous_text(model_id)

    def warm_up(self) -> None:
        """Loads the SDK and fetch the lists in the background. Needs a running event loop."""
        self._open()
        if self._key.is_sane():
            self._catalog.models.renew()
            self._catalog.voices.renew()

    async def validate_configuration(self) -> str:
        """Returns what is wrong with key and voice, as far as it is known, else "". Does not wait for a response.

        While the key was refused, or the list of models is old, that list is fetched in the background,
        twice a minute at most.
        """
        if self._key.is_sane():
            self._catalog.models.renew()
            if not self._config.default_voice:
                self._catalog.voices.renew()
        wrong = self._config.default_voice and not is_voice_id(self._config.default_voice)
        return self._key.trouble() or (_NO_VOICE if wrong else "")

    async def reduced(self) -> str:
        """Returns what the key lacks so that voices can be chosen by language; "" for nothing."""
        lacking = self._catalog.lacking()
        return f"elevenlabs chooses no voice by language: {lacking}." if lacking else ""

    async def probe(self) -> None:
        """Asks for the list of models, which costs nothing. Raises ProviderError while ElevenLabs fails."""
        self._catalog.models.expire()
        self._catalog.models.renew()
        await self._catalog.models.settled()
        error = self._catalog.models.error
        if error is not None:
            raise error

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists the voices of the account, those of one language the best first. Raises ProviderError.

        Raises only while there was never a list.
        """
        if language_code is None:
            voices: Sequence[VoiceInfo] = [voice.info() for voice in await self._catalog.voices.get()]
            return voices
        return [voice.info() for voice in await self._catalog.speaking(language_code)]

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        """Returns whether the voice exists, listed or not; every voice reads every language. Raises ProviderError."""
        del language_code
        return await self._catalog.knows(voice_id)

    async def remaining_characters(self) -> int | None:
        """Returns the characters (credits) of the plan that are left in this period. Raises ProviderError."""
        upstream = await self._opened()
        with self._key.used() as key:
            left, self._catalog.tier = await upstream.subscription(key)
            return max(0, left)

    async def aclose(self) -> None:
        """Ends what is under way and close all connections."""
        await self._catalog.aclose()
        if self._opening is not None:
            upstream = await self._opening
            await upstream.aclose()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speaks `request`. What the call costs comes first, word timings last.

        Raises ProviderError: INVALID_INPUT on an empty or overlong text, UNSUPPORTED on a voice or model that is not
        there, AUTH on a wrong key and QUOTA where the plan is used up, CONCURRENCY, RATE or OVERLOAD where it is too
        busy; TRUNCATED where audio was lost on the way: a line that cannot be read or has no audio, an error in the
        midst of the stream, a connection cut in it, a stream whose characters end before the text does.
        """
        model_id = request.model_id or self._config.default_model
        model = self._catalog.model(model_id)
        if not request.text.strip():
            raise failure(ProviderErrorKind.INVALID_INPUT, "the text is empty")
        if len(request.text) > model.max_characters:
            raise failure(ProviderErrorKind.INVALID_INPUT, f"the text is longer than {model.max_characters} characters")
        voice_id = request.voice_id or await self._catalog.choose(request.language_code)
        if not is_voice_id(voice_id):
            raise failure(ProviderErrorKind.UNSUPPORTED, "this is no id of a voice")
        call = speech_call(request, self._config, voice_id=voice_id, languages=model.languages)
        upstream = await self._opened()
        try:
            with self._key.used() as key:
                async with upstream.speech.request(call, key) as answer:
                    yield call_facts(answer.headers)
                    audio: AsyncGenerator[SpeechItem, None]
                    if call.endpoint is Endpoint.TIMESTAMPS:
                        audio = timed_audio(answer.body, call, bytes_per_second=self._config.bytes_per_second)
                    else:
                        audio = plain_audio(answer)
                    async with aclosing(audio):
                        async for item in audio:
                            yield item
        except KeyRefusedError:
            self._catalog.models.expire()
            raise
        except VoiceRefusedError as error:
            self._catalog.refused(voice_id)
            if lacking := self._catalog.lacking():
                error.message = f"{error.message}, and {lacking}"
            raise

    def _open(self) -> asyncio.Task[ElevenLabsClient]:
        if self._opening is None:
            self._opening = asyncio.create_task(
                asyncio.to_thread(_upstream, self._config, self._observe), name=f"open {NAME}"
            )
        return self._opening

    async def _opened(self) -> ElevenLabsClient:
        return await asyncio.shield(self._open())


def _upstream(config: ElevenLabsConfig, observe: Callable[[str, str, float], None]) -> ElevenLabsClient:
    with SDK_LOADING:
        from voice_service.providers.elevenlabs.client import ElevenLabsClient  # noqa: PLC0415 - takes a second

    return ElevenLabsClient(config, observe)

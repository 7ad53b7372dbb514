"""The adapter for servers with OpenAI's /audio/speech."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from servicekit.addresses import is_own_network
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.decode import HEAD_BYTES, is_text
from voice_service.languages import covers
from voice_service.ports import AudioChunk, CallFacts, NativeFormat, ProviderMetadata
from voice_service.providers.openai_api import OpenAIClient, ResponseProgress, from_answer, request_id, typed_errors
from voice_service.providers.speech.discovery import speech_model, with_voices
from voice_service.providers.speech.voices import configured, voice_list

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from voice_service.ports import SegmentRequest, SpeechItem, VoiceInfo
    from voice_service.providers.speech.config import SpeechConfig

_log: Final = structlog.stdlib.get_logger(__name__)

_MAX_TEXT_BYTES: Final = 1 << 20
_PROBE_SECONDS: Final = 5.0
_AT_ONCE: Final = 0.3
"""Seconds for which a question about the configuration waits for the server's lists."""
_WELL: Final = frozenset({ProviderErrorKind.UNSUPPORTED, ProviderErrorKind.INVALID_INPUT})
"""Answers to a probe of a server that is there but does not list its models."""


class SpeechProvider:
    """Speaks through one server. Connects on the first call; yields what it sends, which is decoded by its bytes.

    Of the settings the API has `speed` alone, from 0.25 to 4. There are no word timings.
    """

    def __init__(self, config: SpeechConfig) -> None:
        self._client = OpenAIClient(config.base_url, config.key, provider=config.name)
        self._voices = voice_list(self._client, provider=config.name, model=lambda: self._config.model)
        self._completing = asyncio.Lock()
        self._completion: asyncio.Task[None] | None = None
        self._unfound = ""
        """What has to be set since the server does not list it."""
        self._use(config)

    def _use(self, config: SpeechConfig) -> None:
        self._config = config
        self._configured = configured(config)
        self._metadata = ProviderMetadata(
            name=config.name,
            display_name=config.display_name,
            supports_streaming=config.response_format == "pcm",
            native_format=NativeFormat.PCM_S16LE,
            sample_rate=config.sample_rate,
            max_text_length=config.max_text_length,
            languages=config.spoken_languages,
            paid=config.paid,
            takes_previous_text=False,
            default_voice=config.default_voice,
            default_model=config.model,
            formats=(config.response_format,),
            local=is_own_network(config.base_url),
            queues=True,
            concurrency=config.concurrency,
        )

    @property
    def metadata(self) -> ProviderMetadata:
        """What this provider is."""
        return self._metadata

    def warm_up(self) -> None:
        """Loads the SDK and the server's lists in the background. Needs a running event loop."""
        if self._config.missing():
            return
        if self._config.is_complete:
            self._voices.renew()
        else:
            self._begin_completion()

    async def validate_configuration(self) -> str:
        """Returns what is not set, or "", also while the server is asked or cannot be asked: its calls show that."""
        if self._config.missing() or self._config.is_complete:
            return self._config.missing()
        completion = self._begin_completion()
        await asyncio.wait([completion], timeout=_AT_ONCE)
        return self._unfound

    async def probe(self) -> None:
        """Asks for the server's models; no text leaves. Raises ProviderError unless it answers."""
        missing = self._config.missing()
        if missing:
            raise self._error(ProviderErrorKind.AUTH, missing)
        await self._get("/models")

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists the voices that the settings name, then those that the server lists; no failure of its list is raised.

        Of one language, the default goes before others. A voice of unknown language is only in the list of all.
        """
        known = {voice.voice_id for voice in self._configured}
        voices = [*self._configured, *(voice for voice in await self._listed() if voice.voice_id not in known)]
        if language_code is None:
            return voices
        speaking = [voice for voice in voices if covers(voice.language_codes, language_code)]
        return sorted(speaking, key=lambda voice: voice.voice_id != self._config.default_voice)

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        """Knows the voices of the settings and those that the server lists, for every language.

        Raises ProviderError for another one while the server's list could never be fetched.
        """
        del language_code
        if any(voice_id == voice.voice_id for voice in self._configured):
            return True
        if any(voice_id == voice.voice_id for voice in await self._listed()):
            return True
        if self._voices.value is None and not self._config.missing():
            await self._voices.get()
        return False

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._completion is not None:
            self._completion.cancel()
            await asyncio.wait([self._completion])
        await self._voices.aclose()
        await self._client.aclose()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speaks `request`.

        Raises ProviderError: INVALID_INPUT on an empty or overlong text, AUTH where the server is not set up,
        TRUNCATED where the answer breaks off, TRANSPORT where it is text, and what the server's status stands for.
        """
        await self._check(request)
        name = self._config.name
        client = await self._client.get()
        progress = ResponseProgress()
        with typed_errors(name, progress):
            async with client.audio.speech.with_streaming_response.create(
                **self._body(request), extra_headers=self._client.headers(), extra_body=self._config.extra or None
            ) as response:
                headers = response.headers
                yield CallFacts(request_id=request_id(headers), content_type=headers.get("content-type", ""))
                body = response.iter_bytes()
                head = b""
                async for chunk in body:
                    head += chunk
                    progress.received = True
                    if len(head) >= HEAD_BYTES:
                        break
                if is_text(head):
                    raise await self._refusal(head, body, headers)
                if head:
                    yield AudioChunk(head)
                async for chunk in body:
                    yield AudioChunk(chunk)

    async def _complete(self) -> str:
        """Finds the model and the voices that no setting names; returns what is still missing.

        Raises ProviderError where the server cannot be asked.
        """
        async with self._completing:
            if self._config.missing() or self._config.is_complete:
                return self._config.missing()
            try:
                if not self._config.model:
                    self._use(replace(self._config, model=speech_model(await self._get("/models"))))
                if not self._config.default_voice:
                    self._voices.expire()
                    self._use(with_voices(self._config, await self._voices.get()))
            except ValueError as error:
                if str(error) != self._unfound:
                    _log.warning("the voice provider is not used", provider=self._config.name, why=str(error))
                self._unfound = str(error)
            else:
                self._unfound = ""
            return self._unfound

    def _begin_completion(self) -> asyncio.Task[None]:
        async def complete() -> None:
            with suppress(ProviderError):
                await self._complete()

        if self._completion is None or self._completion.done():
            self._completion = asyncio.create_task(complete(), name=f"lists of {self._config.name}")
        return self._completion

    async def _get(self, path: str) -> object:
        """Returns the JSON of a list, None where the server has none."""
        client = await self._client.get()
        options: Any = {"timeout": _PROBE_SECONDS, "headers": self._client.headers()}
        try:
            with typed_errors(self._config.name):
                answer: object = await client.get(path, cast_to=object, options=options)
        except ProviderError as error:
            if error.kind not in _WELL:
                raise
            return None
        return answer

    async def _check_set_up(self) -> None:
        missing = await self._complete()
        if missing:
            raise self._error(ProviderErrorKind.AUTH, missing)

    async def _check(self, request: SegmentRequest) -> None:
        await self._check_set_up()
        if not request.text.strip():
            raise self._error(ProviderErrorKind.INVALID_INPUT, "the text is empty")
        if len(request.text) > self._config.max_text_length:
            limit = f"the text is longer than {self._config.max_text_length} characters"
            raise self._error(ProviderErrorKind.INVALID_INPUT, limit)

    def _body(self, request: SegmentRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "input": request.text,
            "model": request.model_id or self._config.model,
            "voice": request.voice_id or self._voice_for(request.language_code),
            "response_format": self._config.response_format,
        }
        if request.settings.speed is not None:
            body["speed"] = request.settings.speed
        return body

    def _voice_for(self, language_code: str) -> str:
        fitting = [voice.voice_id for voice in self._configured if covers(voice.language_codes, language_code)]
        default = self._config.default_voice
        return default if default in fitting or not fitting else fitting[0]

    async def _listed(self) -> Sequence[VoiceInfo]:
        """Returns the voices that the server lists; none while the list cannot be fetched."""
        if self._config.missing():
            return ()
        try:
            await self._complete()
            return await self._voices.get()
        except ProviderError:
            return ()  # logged by the list

    async def _refusal(self, head: bytes, body: AsyncIterator[bytes], headers: Mapping[str, str]) -> ProviderError:
        """Returns what text stands for where audio should be: the error that it states, if it does."""
        async for chunk in body:
            head += chunk
            if len(head) > _MAX_TEXT_BYTES:
                break
        with suppress(ValueError):
            return from_answer(json.loads(head), headers, provider=self._config.name)
        return self._error(ProviderErrorKind.TRANSPORT, "it sent text that is no audio")

    def _error(self, kind: ProviderErrorKind, message: str) -> ProviderError:
        return ProviderError(kind, message, provider=self._config.name)

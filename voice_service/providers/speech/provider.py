"""The adapter for servers with OpenAI's /audio/speech."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import structlog
from cachetools import LRUCache

from servicekit.addresses import is_own_network
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.decode import HEAD_BYTES, AudioError, decode, is_text
from voice_service.audio.lengths import Lengths
from voice_service.audio.verify import ImplausibleError
from voice_service.languages import covers
from voice_service.ports import AudioChunk, CallFacts, NativeFormat, ProviderMetadata
from voice_service.providers.openai_api import (
    OpenAIClient,
    RefusedError,
    ResponseProgress,
    from_answer,
    request_id,
    typed_errors,
)
from voice_service.providers.speech.config import MAX_TEXT_LENGTH, NAME
from voice_service.providers.speech.discovery import speech_model, with_voices
from voice_service.providers.speech.parts import first_part
from voice_service.providers.speech.voices import configured, voice_list

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence

    from voice_service.ports import SegmentRequest, SpeechItem, VoiceInfo
    from voice_service.providers.speech.config import SpeechConfig

_log: Final = structlog.stdlib.get_logger(__name__)

_MAX_TEXT_BYTES: Final = 1 << 20
_PROBE_SECONDS: Final = 5.0
_AT_ONCE: Final = 0.3
"""Seconds for which a question about the configuration waits for the server's lists."""
_LEAST_LIMIT: Final = 20
"""Characters; what is less is no limit of a text."""
_TOO_LARGE: Final = 413
_OF_LENGTH: Final = re.compile(r"long|length|characters|tokens", re.IGNORECASE)
_MOST_BEGUN: Final = 8
_MOST_NEAR: Final = 3
_NEAR: Final = 0.5
"""Likeness of names, from 0 to 1."""
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
        self._lengths = Lengths()
        self._begun: LRUCache[SegmentRequest, list[tuple[str, bytes]]] = LRUCache(_MOST_BEGUN)
        """Texts of which a later part failed: the parts before it, with their sound."""
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
            languages_assumed=not (config.languages or config.voices),
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
        """Takes any name: no list of a server is complete (`af_bella+af_sky`), and a refusal costs nothing."""
        del language_code
        # The list corrects how a name is written, and names the nearest ones where it is refused.
        await self._listed()
        return bool(voice_id.strip())

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._completion is not None:
            self._completion.cancel()
            await asyncio.wait([self._completion])
        await self._voices.aclose()
        await self._client.aclose()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speaks `request`, in parts where the server does not take as long a text.

        A part that was spoken before another one failed is not asked for again. Raises ProviderError: INVALID_INPUT on
        an empty or overlong text, AUTH where the server is not set up, TRUNCATED where the answer breaks off, TRANSPORT
        where it is text, and what the server's status stands for.
        """
        await self._check(request)
        spoken = self._begun.pop(request, [])
        at, learned = sum(len(part) for part, _ in spoken), False
        if spoken:
            yield CallFacts(characters_billed=len(request.text) - at)
            yield AudioChunk(b"".join(sound for _, sound in spoken))
        try:
            while at < len(request.text):
                rest = request.text[at:]
                part = rest[: first_part(rest, self._config.max_text_length, request.language_code)]
                try:
                    async with aclosing(self._speak_part(part, request, spoken)) as items:
                        async for item in items:
                            yield item
                except RefusedError as error:
                    if learned or not self._learns(error.limits, len(part.strip())):
                        raise self._of_voice(error, self._voice(request)) from error
                    learned = True
                else:
                    at += len(part)
        finally:
            if spoken and at < len(request.text):
                self._begun[request] = spoken

    async def _speak_part(
        self, part: str, request: SegmentRequest, spoken: list[tuple[str, bytes]]
    ) -> AsyncGenerator[SpeechItem, None]:
        """Speaks a part of the text of `request`, and adds it to `spoken` when it is whole."""
        sound, content_type = bytearray(), ""
        async with aclosing(self._speak(replace(request, text=part.strip()))) as items:
            async for item in items:
                if isinstance(item, AudioChunk):
                    sound += item.data
                elif isinstance(item, CallFacts):
                    content_type = item.content_type
                yield item
        if part != request.text:
            await self._check_part(part, bytes(sound), content_type, request)
            spoken.append((part, bytes(sound)))

    async def _speak(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        name = self._config.name
        client = await self._client.get()
        progress = ResponseProgress()
        with self._naming_settings(), typed_errors(name, progress, text=request.text):
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
                    raise await self._refusal(head, body, headers, request.text)
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
                    _log.warning("voice provider not used", provider=self._config.name, why=str(error))
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

    @contextmanager
    def _naming_settings(self) -> Iterator[None]:
        """Adds the settings to change to a refusal."""
        try:
            yield
        except ProviderError as error:
            if error.kind is ProviderErrorKind.AUTH:
                error.message += f"; see {self._config.key_variable or 'SPEECH_API_KEY'}"
            elif error.kind in _WELL:
                own = self._config.name == NAME
                error.message += f"; see {'SPEECH_MODEL and SPEECH_VOICE' if own else 'SPEECH_PROVIDERS'}"
                if own and (error.status == _TOO_LARGE or _OF_LENGTH.search(error.said)):
                    error.message += ", or set a smaller SPEECH_MAX_TEXT_LENGTH"
            raise

    async def _check_set_up(self) -> None:
        missing = await self._complete()
        if missing:
            raise self._error(ProviderErrorKind.AUTH, missing)

    async def _check(self, request: SegmentRequest) -> None:
        await self._check_set_up()
        if not request.text.strip():
            raise self._error(ProviderErrorKind.INVALID_INPUT, "the text is empty")
        most = max(MAX_TEXT_LENGTH, self._config.max_text_length)
        if len(request.text) > most:
            raise self._error(ProviderErrorKind.INVALID_INPUT, f"the text is longer than {most} characters")

    def _learns(self, limits: Sequence[int], characters: int) -> bool:
        """Notes the longest of `limits` that forbids a text of so many `characters`; returns whether there is one."""
        most = max((each for each in limits if _LEAST_LIMIT <= each < characters), default=0)
        if most:
            _log.info("text limit lowered", provider=self._config.name, characters=most)
            self._use(replace(self._config, max_text_length=most))
        return bool(most)

    async def _check_part(self, part: str, sound: bytes, content_type: str, request: SegmentRequest) -> None:
        """Raises ProviderError unless the sound of a part is whole."""
        rate = self._config.sample_rate
        try:
            heard = await asyncio.to_thread(decode, sound, content_type=content_type, sample_rate=rate)
        except AudioError as error:
            raise self._error(error.kind, str(error)) from error
        if trouble := self._lengths.trouble(heard.duration, replace(request, text=part), self._config.name):
            raise ImplausibleError(trouble, provider=self._config.name)

    def _of_voice(self, error: RefusedError, voice_id: str) -> ProviderError:
        """Returns the refusal, with the names that are nearest to a voice that the server does not have."""
        listed = {voice.voice_id.casefold(): voice.voice_id for voice in self._voices.value or ()}
        unlisted = bool(listed) and voice_id.casefold() not in listed
        if not error.of_voice and not (unlisted and error.kind is ProviderErrorKind.UNSUPPORTED):
            return error
        near = [listed[each] for each in get_close_matches(voice_id.casefold(), listed, cutoff=_NEAR)]
        shown = ", ".join(near or list(listed.values())[:_MOST_NEAR])
        return RefusedError(
            error.kind,
            f"it has no voice {voice_id}{'; its list has ' if shown else ''}{shown}",
            provider=error.provider,
            status=error.status,
            request_id=error.request_id,
            of_voice=True,
        )

    def _body(self, request: SegmentRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "input": request.text,
            "model": request.model_id or self._config.model,
            "voice": self._voice(request),
            "response_format": self._config.response_format,
        }
        if request.settings.speed is not None:
            body["speed"] = request.settings.speed
        return body

    def _voice(self, request: SegmentRequest) -> str:
        """Returns the voice as the server writes it."""
        asked = request.voice_id.strip() or self._voice_for(request.language_code).strip()
        listed = [voice.voice_id for voice in self._voices.value or ()]
        alike = (each for each in listed if each.casefold() == asked.casefold())
        return asked if asked in listed else next(alike, asked)

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

    async def _refusal(
        self, head: bytes, body: AsyncIterator[bytes], headers: Mapping[str, str], text: str
    ) -> ProviderError:
        """Returns what text stands for where audio should be: the error that it states, if it does."""
        async for chunk in body:
            head += chunk
            if len(head) > _MAX_TEXT_BYTES:
                break
        with suppress(ValueError):
            return from_answer(json.loads(head), headers, provider=self._config.name, text=text)
        return self._error(ProviderErrorKind.TRANSPORT, "it sent text that is no audio")

    def _error(self, kind: ProviderErrorKind, message: str) -> ProviderError:
        return ProviderError(kind, message, provider=self._config.name)

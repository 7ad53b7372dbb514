"""The adapter for servers with OpenAI's /audio/transcriptions."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.openai_api.client import OpenAIClient
from voice_service.openai_api.failures import from_answer, request_id, told
from voice_service.transcription.languages import code_of
from voice_service.transcription.media import media_type, suffix_of
from voice_service.transcription.ports import Transcript

if TYPE_CHECKING:
    from voice_service.transcription.config import TranscriptionConfig
    from voice_service.transcription.ports import Recording

NAME: Final = "transcribe"


class OpenAITranscriber:
    """Asks one server, once a recording. Connects when it is first asked."""

    def __init__(self, config: TranscriptionConfig) -> None:
        self._config = config
        self._client = OpenAIClient(config.base_url, config.key, provider=NAME)

    @property
    def name(self) -> str:
        """See Transcriber."""
        return NAME

    def missing(self) -> str:
        """See Transcriber."""
        return self._config.missing()

    async def aclose(self) -> None:
        """See Transcriber."""
        await self._client.aclose()

    async def transcribe(self, recording: Recording, *, deadline: float | None = None) -> Transcript:
        """See Transcriber.

        Raises ProviderError: AUTH where no server is set up, INVALID_INPUT on an empty recording, TIMEOUT at the
        deadline or after `call_seconds`, TRANSPORT where the answer is no transcript, and what a status stands for.
        """
        missing = self._config.missing()
        if missing:
            raise self._error(ProviderErrorKind.AUTH, missing)
        if not recording.data:
            raise self._error(ProviderErrorKind.INVALID_INPUT, "the recording is empty")
        client = await self._client.get()
        end = asyncio.get_running_loop().time() + self._config.call_seconds
        try:
            async with asyncio.timeout_at(end if deadline is None else min(end, deadline)):
                with told(NAME):
                    # The media type alone: parameters are the caller's words, and would stand in a header.
                    kind = media_type(recording.content_type)
                    response = await client.audio.transcriptions.with_raw_response.create(
                        file=(f"recording.{suffix_of(kind)}", recording.data, kind),
                        model=self._config.model,
                        extra_headers=self._client.headers(),
                        **self._options(recording),
                    )
        except TimeoutError:
            raise self._error(ProviderErrorKind.TIMEOUT, "the transcript did not come in time") from None
        return self._transcript(response.http_response.content, response.headers, recording)

    def _options(self, recording: Recording) -> dict[str, Any]:
        # Language and duration are told by Whisper alone; OpenAI's later models refuse the format.
        options: dict[str, Any] = {
            "response_format": "verbose_json" if "whisper" in self._config.model.lower() else "json"
        }
        if recording.language_code:
            options["language"] = recording.language_code.partition("-")[0].lower()
        return options

    def _transcript(self, content: bytes, headers: Mapping[str, str], recording: Recording) -> Transcript:
        try:
            answer = json.loads(content)
        except ValueError:
            raise self._error(ProviderErrorKind.TRANSPORT, "its answer can not be read") from None
        text = answer.get("text") if isinstance(answer, Mapping) else None
        if not isinstance(text, str):
            raise from_answer(answer, headers, provider=NAME)
        return Transcript(
            text=text.strip(),
            language_code=_heard(answer) or recording.language_code,
            duration=_duration(answer),
            model=self._config.model,
            request_id=request_id(headers),
        )

    def _error(self, kind: ProviderErrorKind, message: str) -> ProviderError:
        return ProviderError(kind, message, provider=NAME)


def _heard(answer: Mapping[str, Any]) -> str:
    """Language that was heard: `language` of Whisper, the first of `languages` of gpt-transcribe."""
    languages = answer.get("languages")
    first = languages[0] if isinstance(languages, list) and languages else None
    return code_of(answer.get("language")) or code_of(first.get("code") if isinstance(first, Mapping) else first)


def _duration(answer: Mapping[str, Any]) -> float | None:
    """Seconds of the recording, of Whisper or as they are billed."""
    usage = answer.get("usage")
    said = (answer.get("duration"), usage.get("seconds") if isinstance(usage, Mapping) else None)
    for seconds in said:
        # Bools are numbers to Python; LocalAI sends 0 where it does not know.
        if isinstance(seconds, (int, float)) and math.isfinite(seconds) and 0 < seconds < 1e6:
            return float(seconds)
    return None

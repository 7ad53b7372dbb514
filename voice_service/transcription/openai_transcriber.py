"""The adapter for servers with OpenAI's /audio/transcriptions, and which server it calls with which key."""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from servicekit.ids import is_language
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from voice_service.providers.openai_api import OpenAIClient, from_answer, request_id, typed_errors
from voice_service.transcription.transcriber import Transcript, media_type, suffix_of

if TYPE_CHECKING:
    from voice_service.settings import VoiceServiceSettings
    from voice_service.transcription.transcriber import Recording


OPENAI_URL: Final = "https://api.openai.com/v1"
DEFAULT_MODEL: Final = "whisper-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionConfig:
    """One server with OpenAI's /audio/transcriptions; `call_seconds` is how long a call may take."""

    base_url: str
    key: SecretSource
    model: str = DEFAULT_MODEL
    call_seconds: float = 60.0

    def missing(self) -> str:
        """Returns which variable has to be set; "" where the server can be asked."""
        if self.base_url == OPENAI_URL and not self.key.get():
            return "set OPENAI_API_KEY, or TRANSCRIBE_BASE_URL to a server with OpenAI's /audio/transcriptions"
        return ""


def transcription_config(settings: VoiceServiceSettings) -> TranscriptionConfig:
    """Returns the configuration that TRANSCRIBE_* and OPENAI_API_KEY ask for.

    Without an address it is OpenAI's own. A key of TRANSCRIBE_API_KEY or its file goes before OPENAI_API_KEY; another
    server than OpenAI's may need none.
    """
    address = settings.transcribe_base_url or OPENAI_URL
    key = SecretSource(settings.transcribe_api_key, settings.transcribe_api_key_file, name="TRANSCRIBE_API_KEY")
    if settings.transcribe_api_key is None and settings.transcribe_api_key_file is None:
        key = SecretSource(settings.openai_api_key, name="OPENAI_API_KEY")
    return TranscriptionConfig(base_url=address, key=key, model=settings.transcribe_model)


# OpenAI's `verbose_json` says "english" where speaches and LocalAI say "en": the names of Whisper's tokenizer.
_NAMES: Final = """
af afrikaans|am amharic|ar arabic|as assamese|az azerbaijani|ba bashkir|be belarusian|bg bulgarian|bn bengali
bo tibetan|br breton|bs bosnian|ca catalan|ca valencian|cs czech|cy welsh|da danish|de german|el greek|en english
es castilian|es spanish|et estonian|eu basque|fa persian|fi finnish|fo faroese|fr french|gl galician|gu gujarati
ha hausa|haw hawaiian|he hebrew|hi hindi|hr croatian|ht haitian|ht haitian creole|hu hungarian|hy armenian
id indonesian|is icelandic|it italian|ja japanese|jv javanese|ka georgian|kk kazakh|km khmer|kn kannada|ko korean
la latin|lb letzeburgesch|lb luxembourgish|ln lingala|lo lao|lt lithuanian|lv latvian|mg malagasy|mi maori
mk macedonian|ml malayalam|mn mongolian|mr marathi|ms malay|mt maltese|my burmese|my myanmar|ne nepali|nl dutch
nl flemish|nn nynorsk|no norwegian|oc occitan|pa panjabi|pa punjabi|pl polish|ps pashto|ps pushto|pt portuguese
ro moldavian|ro moldovan|ro romanian|ru russian|sa sanskrit|sd sindhi|si sinhala|si sinhalese|sk slovak|sl slovenian
sn shona|so somali|sq albanian|sr serbian|su sundanese|sv swedish|sw swahili|ta tamil|te telugu|tg tajik|th thai
tk turkmen|tl tagalog|tr turkish|tt tatar|uk ukrainian|ur urdu|uz uzbek|vi vietnamese|yi yiddish|yo yoruba
yue cantonese|zh chinese|zh mandarin
"""
_CODES: Final = {
    name: code for code, _, name in (entry.partition(" ") for entry in _NAMES.replace("\n", "|").strip("|").split("|"))
}


def code_of(language: object) -> str:
    """BCP-47 code of what a server says; "" where that is neither a code nor a name that is known."""
    if not isinstance(language, str):
        return ""
    word = language.strip().lower()
    return _CODES.get(word) or (word if is_language(word) else "")


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
                with typed_errors(NAME):
                    # The media type alone: parameters are the caller's words, and would stand in a header.
                    kind = media_type(recording.content_type)
                    # A file is sent in pieces; bytes would be copied whole.
                    data = io.BytesIO(recording.data)
                    response = await client.audio.transcriptions.with_raw_response.create(
                        file=(f"recording.{suffix_of(kind)}", data, kind),
                        model=self._config.model,
                        extra_headers=self._client.headers(),
                        **self._options(recording),
                    )
        except TimeoutError:
            raise self._error(ProviderErrorKind.TIMEOUT, "the transcript did not come in time") from None
        return self._transcript(response.http_response.content, response.headers, recording)

    def _options(self, recording: Recording) -> dict[str, Any]:
        # Language and duration are reported by Whisper alone; OpenAI's later models refuse the format.
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
            raise self._error(ProviderErrorKind.TRANSPORT, "its answer cannot be read") from None
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

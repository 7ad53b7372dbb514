"""What the adapter has to know of one server of speech."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servicekit.secrets import SecretSource

SpeechFormat: TypeAlias = Literal["pcm", "wav", "mp3", "flac", "opus"]
"""What to ask a server for. All but `pcm` is decoded here."""

NAME: Final = "speech"
DISPLAY_NAME: Final = "OpenAI-compatible speech"
SAMPLE_RATE: Final = 24_000
"""Hz of raw samples as OpenAI, OpenRouter and Kokoro-FastAPI send them."""
MAX_TEXT_LENGTH: Final = 4_096
"""Code points that OpenAI's API takes in one request."""
FALLBACK_LANGUAGE: Final = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechConfig:
    """One server and how to ask it.

    `voices` are voice ids by language (BCP-47), the first of a language being preferred; `voice` reads the languages
    that are not there, and is the first of `voices` where it is not given. `sample_rate` in Hz is that of raw samples
    from this server; a server that states another one is believed and resampled. `languages` are what the model
    speaks, by default those of `voices`. `extra` goes into the body of every request. `key_variable` is named where
    `key` has to be there and is not. `prefix` begins the names of the variables that the settings come from.
    """

    base_url: str
    key: SecretSource
    model: str
    name: str = NAME
    display_name: str = DISPLAY_NAME
    voice: str = ""
    voices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    response_format: SpeechFormat = "pcm"
    sample_rate: int = SAMPLE_RATE
    languages: tuple[str, ...] = ()
    max_text_length: int = MAX_TEXT_LENGTH
    paid: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    key_variable: str = ""
    prefix: str = "SPEECH_"

    @property
    def default_voice(self) -> str:
        """The voice that reads what no other is set for; "" where there is none."""
        return self.voice or next((ids[0] for ids in self.voices.values() if ids), "")

    @property
    def spoken_languages(self) -> tuple[str, ...]:
        """What the model speaks, as far as it was said; "en" where nothing was."""
        return self.languages or tuple(self.voices) or (FALLBACK_LANGUAGE,)

    def missing(self) -> str:
        """What has to be set before the server can be asked, and how; "" where nothing is missing."""
        if not self.base_url:
            return f"set {self.prefix}BASE_URL to the address of a server with OpenAI's /audio/speech"
        if not self.model:
            return f"set {self.prefix}MODEL to the model of {self.prefix}BASE_URL that speaks: there is no default"
        if not self.default_voice:
            return f"set {self.prefix}VOICE to a voice of that model, or {self.prefix}VOICES to voices by language"
        if self.key_variable and not self.key.get():
            return f"set {self.key_variable} to the key of that server"
        return ""
